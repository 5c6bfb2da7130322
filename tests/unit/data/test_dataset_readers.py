"""Uploads in every format become the same rows and labels."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentmill.specs import TensorRows
from workers.readers import DatasetContent, read_dataset
from workers.rows import Field, RowBatch
from workers.shards import ShardBatch, ShardSchema, write_shard

ROWS = 1_000
IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture
def read(tmp_path: Path):
    """Reads `tmp_path / filename`."""
    out_dir = tmp_path / "out"
    out_dir.mkdir()

    def reading(filename: str, *, labels: str | None = None, **choices) -> DatasetContent:
        beside = {"labels_path": tmp_path / labels, "labels_filename": labels} if labels else {}
        return read_dataset(tmp_path / filename, filename, out_dir=out_dir, **beside, **choices)

    return reading


def rows_of(content: DatasetContent) -> np.ndarray:
    return np.load(content.rows_path, mmap_mode="r", allow_pickle=False)


def labels_of(content: DatasetContent) -> list[str]:
    classes = list(content.labels)
    return [classes[number] for number in np.load(content.labels_path, allow_pickle=False)]


def write_idx(path: Path, array: np.ndarray) -> None:
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_TYPES[array.dtype.str[1:]], array.ndim, *array.shape)
    data += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


PIXELS = np.random.default_rng(1).integers(0, 256, (ROWS, 5, 4), dtype=np.uint8)
NUMBERS = np.random.default_rng(2).standard_normal((ROWS, 3))
DIGITS = np.random.default_rng(3).integers(0, 12, ROWS)


def test_every_file_of_pixels_has_the_same_content(read, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(PIXELS))
    np.savez(tmp_path / "a.npz", rows=PIXELS, other=NUMBERS)
    np.savez_compressed(tmp_path / "b.npz", x=PIXELS)
    np.savez_compressed(tmp_path / "fortran.npz", rows=np.asfortranarray(PIXELS))
    write_idx(tmp_path / "pixels-idx3-ubyte", PIXELS)
    write_idx(tmp_path / "pixels-idx3-ubyte.gz", PIXELS)
    names = ["a.npy", "fortran.npy", "a.npz", "b.npz", "fortran.npz", "pixels-idx3-ubyte", "pixels-idx3-ubyte.gz"]
    digests = set()
    for name in names:
        content = read(name)
        assert (content.rows, content.row_shape, content.dtype) == (ROWS, (5, 4), "uint8")
        assert content.labels is None
        assert content.columns is None
        assert np.array_equal(rows_of(content), PIXELS)
        digests.add(content.digest)
    assert len(digests) == 1


def test_every_file_of_numbers_has_the_same_content(read, tmp_path: Path) -> None:
    frame = pd.DataFrame(NUMBERS, columns=["a", "b", "c"])
    frame.to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(NUMBERS).to_csv(tmp_path / "bare.csv", index=False, header=False)
    frame.to_parquet(tmp_path / "a.parquet")
    np.save(tmp_path / "a.npy", NUMBERS.astype(">f8"))
    for name in ("a.csv", "bare.csv", "a.parquet", "a.npy"):
        content = read(name)
        assert (content.rows, content.row_shape, content.dtype) == (ROWS, (3,), "float32")
        assert np.array_equal(rows_of(content), NUMBERS.astype(np.float32))
    assert read("a.csv").columns == read("a.parquet").columns == ["a", "b", "c"]
    assert read("bare.csv").columns == ["0", "1", "2"]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i4", "i8", "?"])
def test_other_numbers_become_float32(read, tmp_path: Path, dtype: str) -> None:
    values = (np.arange(24).reshape(8, 3) % 2).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    content = read("a.npy")
    assert content.dtype == "float32"
    assert np.array_equal(rows_of(content), values.astype(np.float32))


def test_labels_come_from_a_file_of_their_own(read, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", PIXELS)
    np.save(tmp_path / "l.npy", DIGITS)
    np.savez(tmp_path / "l.npz", y=DIGITS)
    write_idx(tmp_path / "l.idx", DIGITS.astype(np.uint8))
    write_idx(tmp_path / "l.idx.gz", DIGITS.astype(np.int32))
    pd.Series(DIGITS, name="digit").to_csv(tmp_path / "l.csv", index=False)
    pd.Series(DIGITS).to_csv(tmp_path / "bare.csv", index=False, header=False)
    digests = set()
    for name in ("l.npy", "l.npz", "l.idx", "l.idx.gz", "l.csv", "bare.csv"):
        content = read("rows.npy", labels=name)
        assert list(content.labels) == [str(digit) for digit in range(12)]  # 10 after 9: by value
        assert labels_of(content) == [str(digit) for digit in DIGITS]
        assert content.labels["3"] == int((DIGITS == 3).sum())
        digests.add(content.digest)
    assert len(digests) == 1
    assert read("rows.npy").digest not in digests


def test_labels_come_from_a_column(read, tmp_path: Path) -> None:
    names = np.array(["owl", "ant", "bee"])[DIGITS % 3]
    frame = pd.DataFrame(NUMBERS, columns=["a", "b", "c"]).assign(animal=names)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.astype({"animal": "category"}).to_parquet(tmp_path / "categories.parquet")
    np.savez(tmp_path / "a.npz", rows=NUMBERS, animal=names)
    for name in ("a.csv", "a.parquet", "categories.parquet", "a.npz"):
        content = read(name, label_column="animal")
        assert list(content.labels) == ["ant", "bee", "owl"]
        assert labels_of(content) == names.tolist()
        assert content.row_shape == (3,)
        assert np.array_equal(rows_of(content), NUMBERS.astype(np.float32))


CLASSES = {
    "integers": (DIGITS - 3, [str(number) for number in range(-3, 9)]),
    "booleans": (DIGITS > 5, ["False", "True"]),
    "whole floats": (DIGITS % 3 * 1.0, ["0", "1", "2"]),
    "text": (np.array(["é", "b c", "10"])[DIGITS % 3], ["10", "b c", "é"]),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_labels_of_every_type_are_the_same_classes_in_every_file(read, tmp_path: Path, kind: str) -> None:
    labels, classes = CLASSES[kind]
    frame = pd.DataFrame(NUMBERS, columns=["a", "b", "c"]).assign(y=labels)
    frame.to_parquet(tmp_path / "y.parquet")
    frame.assign(y=[int(y) for y in labels] if kind == "whole floats" else labels).to_csv(
        tmp_path / "y.csv", index=False
    )
    np.savez(tmp_path / "y.npz", rows=NUMBERS, y=labels)
    np.save(tmp_path / "rows.npy", NUMBERS)
    np.save(tmp_path / "l.npy", labels)
    frame[["y"]].to_csv(tmp_path / "l.csv", index=False)
    found = [read(f"y.{ending}", label_column="y") for ending in ("parquet", "csv", "npz")]
    found.append(read("rows.npy", labels="l.npy"))
    if kind != "whole floats":  # in a file of text 1.0 is a text
        found.append(read("rows.npy", labels="l.csv"))
    for content in found:
        assert list(content.labels) == classes
        assert list(content.labels.values()) == [int((labels == each).sum()) for each in np.unique(labels)]
        assert content.digest == found[-1].digest


@pytest.mark.parametrize("format", ["npz", "parquet"])
def test_shards_are_datasets(read, tmp_path: Path, format: str) -> None:
    fields = (Field("rows", np.dtype(np.uint8), (5, 4)),)
    batch = ShardBatch(RowBatch({"rows": PIXELS}), {"labels": DIGITS % 2})
    write_shard(format, tmp_path / f"a.{format}", ShardSchema.of(fields, classes=("no", "yes")), ROWS, [batch])
    content = read(f"a.{format}")
    assert (content.row_shape, content.dtype) == ((5, 4), "uint8")
    assert np.array_equal(rows_of(content), PIXELS)
    assert labels_of(content) == [("no", "yes")[digit % 2] for digit in DIGITS]


def test_lists_in_parquet_are_rows(read, tmp_path: Path) -> None:
    pq.write_table(pa.table({"vector": NUMBERS.tolist(), "y": DIGITS}), tmp_path / "a.parquet")
    content = read("a.parquet", label_column="y")
    assert content.row_shape == (3,)
    assert np.array_equal(rows_of(content), NUMBERS.astype(np.float32))


def test_latents_are_means_and_stds(read, tmp_path: Path) -> None:
    mean, std = NUMBERS.reshape(ROWS, 3, 1), np.abs(NUMBERS[:, ::-1]).reshape(ROWS, 3, 1)
    np.savez(tmp_path / "a.npz", mean=mean.astype(np.float32), std=std, labels=DIGITS)
    content = read("a.npz", kind="latents")
    assert (content.rows, content.row_shape, content.dtype) == (ROWS, (3, 1), "float32")
    assert np.array_equal(rows_of(content)[:, 0], mean.astype(np.float32))
    assert np.array_equal(rows_of(content)[:, 1], std.astype(np.float32))
    assert labels_of(content) == [str(digit) for digit in DIGITS]


def test_latents_without_std_are_points(read, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", mean=NUMBERS.astype(np.float32))
    np.savez(tmp_path / "b.npz", mean=NUMBERS.astype(np.float32), std=np.zeros_like(NUMBERS))
    points, zeros = read("a.npz", kind="latents"), read("b.npz", kind="latents")
    assert points.digest == zeros.digest
    assert not rows_of(zeros)[:, 1].any()
    assert [warning.partition(":")[0] for warning in points.warnings] == ["There is no array std"]
    assert zeros.warnings == []


def test_a_header_of_plain_numbers_is_a_header_from_four_columns_on(read, tmp_path: Path) -> None:
    frame = pd.DataFrame(np.arange(20.0).reshape(4, 5))
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert np.array_equal(rows_of(read("a.csv")), frame.to_numpy(np.float32))


def test_csv_with_byte_order_mark_and_quotes(read, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufeff"a","b, or c",y\r\n1,2.5,"x, y"\r\n-3e1,4,z\r\n'.encode())
    content = read("a.csv", label_column="y")
    assert content.columns == ["a", "b, or c"]
    assert rows_of(content).tolist() == [[1.0, 2.5], [-30.0, 4.0]]
    assert labels_of(content) == ["x, y", "z"]


def test_blocks_cut_nothing(read, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("workers.readers.source.BLOCK_BYTES", 333)
    np.savez_compressed(tmp_path / "a.npz", rows=PIXELS, labels=DIGITS)
    content = read("a.npz")
    assert np.array_equal(rows_of(content), PIXELS)
    assert labels_of(content) == [str(digit) for digit in DIGITS]


def test_memory_stays_bounded(read, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", rows=np.zeros((60_000, 28, 28), np.float64))  # 376 MB inflated
    tracemalloc.start()
    content = read("a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content.rows == 60_000
    assert peak < 64 * 2**20


def test_what_was_read_fits_a_codec(read, tmp_path: Path) -> None:
    from workers.rows import codec

    np.save(tmp_path / "a.npy", PIXELS)
    assert codec(TensorRows(shape=(5, 4))).to_model(rows_of(read("a.npy"))).dtype == np.float32
