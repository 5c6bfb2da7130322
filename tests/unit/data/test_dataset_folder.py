"""The card and the checksums beside the shards: made for people and for the usual tools."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from workers.generation.folder import checksum_lines, dataset_card
from workers.rows import Field, RowBatch
from workers.shards import ShardBatch, ShardSchema, write_shard


def manifest_of(folder: Path, format: str) -> dict:
    """Two real shards in `folder`, and their manifest."""
    pixels = np.arange(10 * 12, dtype=np.uint8).reshape(10, 1, 3, 4)
    schema = ShardSchema.of((Field("rows", np.dtype(np.uint8), (1, 3, 4)),))
    shards = []
    for index in range(2):
        name = f"data-{index:05d}-of-00002.{format}"
        batch = ShardBatch(RowBatch({"rows": pixels[5 * index : 5 * index + 5]}), {})
        written = write_shard(format, folder / name, schema, 5, [batch])
        shards.append({"index": index, "name": name, "bytes": written.size_bytes, "sha256": written.sha256})
    return {
        "schema": 1,
        "job": "job_1",
        "created_at": "2026-01-02T03:04:05Z",
        "rows": 10,
        "seed": 7,
        "noise": 1,
        "model": {"id": "mdl_1", "name": "digits | v2", "digest": "ab" * 32},
        "fit": {"id": "fit_1", "family": {"kind": "gaussian", "covariance": "full"}, "digest": "cd" * 32},
        "strategy": {"kind": "aggregate", "fit": "fit_1", "labels": {"counts": {"a": 4, "b": 6}}},
        "output": "mean",
        "format": format,
        "row_kind": "image",
        "shape": [1, 3, 4],
        "dtype": "uint8",
        "executions": [{"device": "cpu"}],
        "shards": shards,
    }


def test_the_card_names_the_features_of_a_series(tmp_path: Path) -> None:
    series = {"row_kind": "series", "shape": [30, 2], "dtype": "float32", "columns": ["load", "price"]}
    card = dataset_card(manifest_of(tmp_path, "npz") | series)
    assert "series of shape (30, 2), float32: load, price" in card


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils are not here")
def test_sha256sum_accepts_the_checksums(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "npz")
    texts = {"manifest.json": b"{}", "README.md": b"# card"}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "SHA256SUMS").write_text(checksum_lines(manifest, texts))
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.count(": OK") == 4
    (tmp_path / manifest["shards"][1]["name"]).write_bytes(b"other")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False).returncode != 0


@pytest.mark.parametrize("format", ["npz", "parquet"])
def test_the_card_loads_the_dataset_as_it_says(tmp_path: Path, format: str, monkeypatch) -> None:
    card = dataset_card(manifest_of(tmp_path, format))
    code = card.split("```python\n")[1].split("```")[0].split("from datasets")[0]
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["rows"].shape == (10, 1, 3, 4)
    assert names["rows"].ravel().tolist() == list(range(120))


def test_the_card_says_how_the_rows_were_made(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "parquet") | {"labels": {"a": 4, "b": 6}}
    card = dataset_card(manifest, name='Digits "again"', description="Small digits.")
    for part in (
        '# Digits "again"',
        "Small digits.",
        "| Rows | 10 in 2 shards (parquet, ",
        "| A row | image of shape (1, 3, 4), uint8 |",
        "digits \\| v2",
        '`{"kind": "gaussian", "covariance": "full"}` (`fit_1`)',
        '"counts": {"a": 4, "b": 6}',
        "| Labels | a: 4, b: 6 |",
        "| Seed | 7 (noise scheme 1) |",
        "data_files: data-*.parquet",
        "sha256sum -c SHA256SUMS",
    ):
        assert part in card
    assert card.startswith('---\npretty_name: "Digits \\"again\\""\n')


def test_the_card_of_a_table_names_its_columns(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "parquet") | {"row_kind": "table", "fit": None}
    manifest["columns"] = [{"name": "income", "kind": "number"}, {"name": "city", "kind": "category"}]
    card = dataset_card(manifest)
    assert "table of 2 columns: income, city" in card
    assert "| Fit | none |" in card
    assert "Labels" not in card
    many = dataset_card(manifest | {"labels": {str(number): 1_000 for number in range(30)}})
    assert "19: 1,000, ... (`manifest.json`) |" in many
