"""Encodings: what is written is what is read, by us and by safetensors; unusable rows are named."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from latentmill.errors import DataError
from workers.posteriors.encoding import Encoding, EncodingWriter, open_encoding, save_encoding


def made_encoding(rows: int, latent_size: int, *, labels: bool = True) -> Encoding:
    generator = np.random.default_rng(rows)
    return Encoding(
        mean=generator.standard_normal((rows, latent_size)).astype(np.float32),
        std=generator.random((rows, latent_size)).astype(np.float32),
        labels=generator.integers(0, 3, rows).astype(np.int32) if labels else None,
        row_digests=generator.integers(0, 256, (rows, 16)).astype(np.uint8),
        classes=("a", "b", "ü") if labels else None,
    )


@pytest.mark.parametrize("labels", [True, False])
def test_an_encoding_comes_back_as_it_was_written(tmp_path: Path, labels: bool) -> None:
    written = made_encoding(1_001, 7, labels=labels)
    save_encoding(written, tmp_path / "encoding.safetensors")
    read = open_encoding(tmp_path / "encoding.safetensors")
    assert read.classes == written.classes
    assert isinstance(read.mean, np.memmap)
    foreign = load_file(tmp_path / "encoding.safetensors")
    for name in ("mean", "std", "row_digests", *(["labels"] if labels else [])):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        np.testing.assert_array_equal(foreign[name], getattr(written, name))
    assert (read.labels is None) is (not labels)


def test_block_sizes_do_not_change_the_bytes(tmp_path: Path) -> None:
    encoding = made_encoding(100, 3)
    for name, step in (("a", 1), ("b", 33)):
        with EncodingWriter(tmp_path / name, 100, 3, True, classes=encoding.classes) as writer:
            for first in range(0, 100, step):
                rows = slice(first, first + step)
                writer.write(
                    first, encoding.mean[rows], encoding.std[rows], encoding.labels[rows], encoding.row_digests[rows]
                )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("field", "value"), [("mean", np.nan), ("mean", np.inf), ("std", np.nan), ("std", -1e-3), ("std", 2e6)]
)
def test_an_unusable_row_is_named_and_leaves_no_file(tmp_path: Path, field: str, value: float) -> None:
    encoding = made_encoding(64, 2, labels=False)
    getattr(encoding, field)[41, 1] = value
    with pytest.raises(DataError, match="row 41 "):
        save_encoding(encoding, tmp_path / "encoding")
    assert list(tmp_path.iterdir()) == []


def test_missing_rows_are_an_error(tmp_path: Path) -> None:
    encoding = made_encoding(8, 2, labels=False)
    with pytest.raises(ValueError, match="4 of 8 rows"), EncodingWriter(tmp_path / "e", 8, 2, False) as writer:
        writer.write(0, encoding.mean[:4], encoding.std[:4], None, encoding.row_digests[:4])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="next is 0"), EncodingWriter(tmp_path / "e", 8, 2, False) as writer:
        writer.write(4, encoding.mean[:4], encoding.std[:4], None, encoding.row_digests[:4])
