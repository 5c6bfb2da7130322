"""Shards: equal rows give equal bytes, and the usual libraries read them."""

import hashlib
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from latentmill.errors import Internal, InvalidRequest, NotYet, StorageFault
from workers.rows import Field, RowBatch
from workers.shards import ShardBatch, ShardSchema, write_shard
from workers.shards.parquet import group_rows

ROWS = 1_000
FORMATS = ("npz", "parquet")
CLASSES = ("cat", "horse")
GOLDEN_NPZ = "b329fe10c5e4998a51ddc50df62c8ebddf6e1793e954e44bad8f43a2aa96798f"


def image_shard() -> tuple[ShardSchema, ShardBatch]:
    """Images with latents and labels, from arithmetic alone: no generator's stream is part of the golden digest."""
    pixels = (np.arange(ROWS * 12) * 7919 % 256).astype(np.uint8).reshape(ROWS, 1, 3, 4)
    latents = (np.arange(ROWS * 4) * 7919 % 999 / np.float32(8)).astype(np.float32).reshape(ROWS, 2, 2)
    schema = ShardSchema.of((Field("rows", np.dtype(np.uint8), (1, 3, 4)),), latent_shape=(2, 2), classes=CLASSES)
    return schema, ShardBatch(RowBatch({"rows": pixels}), {"latents": latents, "labels": np.arange(ROWS) % 2})


def table_shard() -> tuple[ShardSchema, ShardBatch]:
    fields = (
        Field("income", np.dtype(np.float64), missing=True),
        Field("rooms", np.dtype(np.int64)),
        Field("city", np.dtype(np.int32), categories=("Bonn", "Ulm", "Köln"), missing=True),
        Field("garden", np.dtype(np.bool_)),
    )
    i = np.arange(ROWS)
    values = {"income": np.where(i % 5 == 0, np.nan, i * 1.5), "rooms": i % 7, "city": (i % 3).astype(np.int32)}
    missing = {"income": i % 5 == 0, "city": i % 4 == 0}
    return ShardSchema.of(fields), ShardBatch(RowBatch({**values, "garden": i % 2 == 0}, missing), {})


def cut(batch: ShardBatch, sizes: list[int]):
    """The batch in pieces of these sizes, over and over."""
    start = 0
    while start < ROWS:
        for size in sizes:
            if start < ROWS:
                yield batch.cut(start, start + size)
                start += size


@pytest.mark.parametrize("shard", [image_shard, table_shard])
@pytest.mark.parametrize("format", FORMATS)
def test_bytes_depend_on_rows_alone(tmp_path: Path, format: str, shard, monkeypatch) -> None:
    schema, batch = shard()
    monkeypatch.setattr("workers.shards.parquet.MAX_GROUP_ROWS", 256)
    digests = set()
    for number, sizes in enumerate(([ROWS], [64], [1, 999], [7, 300, 33])):
        path = tmp_path / f"{number}"
        written = write_shard(format, path, schema, ROWS, cut(batch, sizes))
        assert written.rows == ROWS
        assert written.size_bytes == path.stat().st_size
        assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        digests.add(written.sha256)
    assert len(digests) == 1


def test_another_process_on_another_day_writes_the_same_bytes(tmp_path: Path) -> None:
    schema, batch = image_shard()
    here = [write_shard(format, tmp_path / "here", schema, ROWS, [batch]).sha256 for format in FORMATS]
    script = f"""
        import importlib.util, sys, time
        from pathlib import Path
        time.time = lambda: 4e9
        spec = importlib.util.spec_from_file_location("shards", {__file__!r})
        shards = importlib.util.module_from_spec(spec); spec.loader.exec_module(shards)
        schema, batch = shards.image_shard()
        for format in shards.FORMATS:
            print(shards.write_shard(format, Path({str(tmp_path / "there")!r}), schema, shards.ROWS, [batch]).sha256)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout.split() == here


def test_npz_bytes_are_the_golden_ones(tmp_path: Path) -> None:
    schema, batch = image_shard()
    assert write_shard("npz", tmp_path / "golden.npz", schema, ROWS, [batch]).sha256 == GOLDEN_NPZ


def test_numpy_reads_npz(tmp_path: Path) -> None:
    schema, batch = image_shard()
    write_shard("npz", tmp_path / "a.npz", schema, ROWS, cut(batch, [100]))
    with np.load(tmp_path / "a.npz") as shard:
        assert list(shard) == ["rows", "latents", "labels"]
        assert np.array_equal(shard["rows"], batch.rows.values["rows"])
        assert np.array_equal(shard["latents"], batch.beside["latents"])
        assert shard["labels"].dtype == np.dtype("<U5")
        assert shard["labels"][:3].tolist() == ["cat", "horse", "cat"]
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


def test_numpy_reads_tables(tmp_path: Path) -> None:
    schema, batch = table_shard()
    write_shard("npz", tmp_path / "a.npz", schema, ROWS, cut(batch, [100]))
    with np.load(tmp_path / "a.npz") as shard:
        table = pd.DataFrame(shard["rows"])
        missing = shard["missing"]
    assert table["city"][:5].tolist() == ["", "Ulm", "Köln", "Bonn", ""]
    assert table["rooms"].tolist() == batch.rows.values["rooms"].tolist()
    assert missing["income"].tolist() == batch.rows.missing["income"].tolist()


def test_pandas_reads_parquet(tmp_path: Path) -> None:
    schema, batch = image_shard()
    write_shard("parquet", tmp_path / "a.parquet", schema, ROWS, cut(batch, [100]))
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert np.array_equal(np.stack(table["rows"]).reshape(-1, 1, 3, 4), batch.rows.values["rows"])
    assert np.array_equal(np.stack(table["latents"]).reshape(-1, 2, 2), batch.beside["latents"])
    assert table["labels"][:3].tolist() == ["cat", "horse", "cat"]
    metadata = pq.read_schema(tmp_path / "a.parquet").metadata
    assert metadata[b"latentmill"] == b'{"shapes": {"latents": [2, 2], "rows": [1, 3, 4]}}'


def test_pandas_reads_typed_columns_from_parquet(tmp_path: Path) -> None:
    schema, batch = table_shard()
    write_shard("parquet", tmp_path / "a.parquet", schema, ROWS, cut(batch, [100]))
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert [str(kind) for kind in table.dtypes] == ["float64", "int64", "str", "bool"]
    assert table["city"].isna().sum() == ROWS // 4
    assert table["city"][1] == "Ulm"
    assert table["income"].isna().sum() == ROWS // 5


def test_row_groups_are_sized_by_the_schema(tmp_path: Path, monkeypatch) -> None:
    schema, batch = image_shard()
    monkeypatch.setattr("workers.shards.parquet.MAX_GROUP_ROWS", 256)
    assert group_rows(schema) == 256
    write_shard("parquet", tmp_path / "a.parquet", schema, ROWS, cut(batch, [333]))
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [256, 256, 256, 232]


def test_row_groups_of_wide_rows_stay_small() -> None:
    wide = ShardSchema.of((Field("rows", np.dtype(np.float32), (3, 512, 512)),))
    assert group_rows(wide) * wide.row_bytes <= 8 * 2**20


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("sizes", [[300], [ROWS, 5]])
def test_other_rows_than_promised_leave_no_file(tmp_path: Path, format: str, sizes: list[int]) -> None:
    schema, batch = image_shard()
    with pytest.raises(Internal, match=r"1,000 rows was given"):
        write_shard(format, tmp_path / "a", schema, ROWS, [batch.cut(0, size) for size in sizes])
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_between_batches_leaves_no_file(tmp_path: Path, format: str) -> None:
    schema, batch = image_shard()

    def failing():
        yield batch.cut(0, 10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(format, tmp_path / "a", schema, ROWS, failing())
    assert not (tmp_path / "a").exists()


def test_a_disk_that_fails_is_named(tmp_path: Path) -> None:
    schema, batch = image_shard()
    with pytest.raises(StorageFault):
        write_shard("npz", tmp_path / "absent" / "a", schema, ROWS, [batch])


def test_formats_to_come_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotYet, match="mds"):
        write_shard("mds", tmp_path / "a", image_shard()[0], ROWS, [])


def test_a_column_called_labels_is_refused_where_it_would_clash(tmp_path: Path) -> None:
    schema = ShardSchema.of((Field("labels", np.dtype(np.int64)),), classes=CLASSES)
    with pytest.raises(InvalidRequest, match="ask for npz"):
        write_shard("parquet", tmp_path / "a", schema, 1, [])


def test_tables_too_wide_for_numpy_are_refused(tmp_path: Path) -> None:
    schema = ShardSchema.of(tuple(Field(f"column {i}", np.dtype(np.int64)) for i in range(1000)))
    with pytest.raises(InvalidRequest, match="parquet"):
        write_shard("npz", tmp_path / "a", schema, 1, [])
