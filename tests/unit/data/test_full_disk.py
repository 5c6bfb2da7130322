"""Every file that a worker makes, on a disk that has no room for it: the fault says so, and is waited out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from latentmill.errors import StorageFull
from tests.small_disk import small_disk
from workers.disk import disk_errors, is_disk_full
from workers.posteriors.encoding import Encoding, save_encoding
from workers.readers import read_dataset
from workers.rows import Field, RowBatch
from workers.shards import ShardBatch, ShardSchema, write_shard

ROWS = 4_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "256k") as folder:
        yield folder


def shard(format: str) -> Callable[[Path, Path], None]:
    def write(disk: Path, elsewhere: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (ROWS, 1, 16, 16), np.uint8)
        schema = ShardSchema.of((Field("rows", np.dtype(np.uint8), (1, 16, 16)),))
        batches = (ShardBatch(RowBatch({"rows": noise[start : start + 500]}), {}) for start in range(0, ROWS, 500))
        write_shard(format, disk / "shard", schema, ROWS, batches)

    return write


def encoding(disk: Path, elsewhere: Path) -> None:
    latents = np.ones((ROWS, 32), np.float32)
    digests = np.zeros((ROWS, 16), np.uint8)
    with disk_errors("an encoding was written"):
        save_encoding(Encoding(latents, latents, None, digests), disk / "encoding.safetensors")


def dataset(disk: Path, elsewhere: Path) -> None:
    np.save(elsewhere / "rows.npy", np.ones((ROWS, 100), np.float32))
    read_dataset(elsewhere / "rows.npy", "rows.npy", out_dir=disk)


@pytest.mark.parametrize("make", [shard("npz"), shard("parquet"), encoding, dataset])
def test_what_does_not_fit_is_a_full_disk_and_leaves_no_half_file(make, disk: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageFull):
        make(disk, tmp_path)
    assert make is dataset or list(disk.iterdir()) == [], "the folder of a dataset goes as a whole"


def test_parameters_that_do_not_fit_are_a_full_disk_though_another_library_says_so(disk: Path) -> None:
    with pytest.raises(Exception, match="os error 28") as caught:
        save_file({"means": np.ones((ROWS, 100))}, disk / "parameters.safetensors")
    assert is_disk_full(caught.value)
    assert not is_disk_full(ValueError("something else (os error 2)"))
