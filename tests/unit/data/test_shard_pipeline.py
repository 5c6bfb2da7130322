"""A shard from noise to bytes: the same rows wherever borders lie, and one end for all stages."""

import threading
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmill.errors import DataError, OutOfMemory
from latentmill.specs import LabelCounts, Prior
from workers.generation import ShardPlan, generate_shard
from workers.posteriors.prior import declared_prior
from workers.sampling import open_strategy

ROWS, BATCH = 3_000, 128


@pytest.fixture
def shard_of(tmp_path: Path):
    """Rows [first, first + rows) of a job of ROWS rows, as arrays."""

    def make(vae, first: int = 0, rows: int = ROWS, *, check=lambda: None, strategy=None, batch=BATCH, **plan):
        source = open_strategy(
            strategy or Prior(),
            seed=3,
            rows=ROWS,
            manifest=vae.manifest,
            density=declared_prior(vae.manifest, vae.prior_parameters),
        )
        plan = ShardPlan(first, rows, batch, **{"format": "npz", "include_latents": True, **plan})
        path = tmp_path / f"{first}-{rows}"
        written = generate_shard(vae, source, plan, path, check=check)
        assert written.rows == rows
        with np.load(path) as shard:
            return {name: shard[name] for name in shard}

    return make


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


IMAGE = {"kind": "image", "shape": [1, 4, 4], "range": [-2, 2]}


@pytest.mark.parametrize("rows", [None, IMAGE])
def test_borders_change_no_bit(make_vae, shard_of, rows) -> None:
    vae = make_vae(rows=rows)
    whole = shard_of(vae)
    assert whole["rows"].shape == (ROWS, *vae.manifest.rows.shape)
    assert whole["latents"].shape == (ROWS, 4)
    for borders in ([0, 1, 130, 1023, 1025, ROWS], [0, 2999, ROWS], [0, 1024, 2048, ROWS]):
        parts = [shard_of(vae, a, b - a) for a, b in pairwise(borders)]
        for name in ("rows", "latents"):
            assert np.array_equal(np.concatenate([part[name] for part in parts]), whole[name])


def test_rows_are_the_decoded_latents(make_vae, shard_of) -> None:
    vae = make_vae()
    shard = shard_of(vae, 100, 200)
    np.testing.assert_allclose(shard["rows"], vae.decode(torch.from_numpy(shard["latents"])).numpy(), atol=1e-5)
    assert abs(shard_of(vae)["latents"].std() - 1) < 0.05


def test_latents_stay_out_unless_asked_for(make_vae, shard_of) -> None:
    assert list(shard_of(make_vae(), include_latents=False)) == ["rows"]


def test_labels_are_decoded_and_named(make_vae, shard_of) -> None:
    vae = make_vae(classes=["zero", "one", "two"])
    counts = {"zero": 1000, "one": 500, "two": 1500}
    shard = shard_of(vae, strategy=Prior(labels=LabelCounts(counts=counts)), classes=vae.manifest.labels.classes)
    assert {name: int((shard["labels"] == name).sum()) for name in counts} == counts
    for number, name in enumerate(counts):
        assert abs(shard["rows"][shard["labels"] == name].mean() - 10 * number) < 0.2
    part = shard_of(
        vae, 700, 50, strategy=Prior(labels=LabelCounts(counts=counts)), classes=vae.manifest.labels.classes
    )
    assert np.array_equal(part["labels"], shard["labels"][700:750])
    assert np.array_equal(part["rows"], shard["rows"][700:750])


def test_check_is_called_before_every_batch(make_vae, shard_of) -> None:
    calls = []
    shard_of(make_vae(), 100, 1000, check=lambda: calls.append(1))
    assert len(calls) == -(-1100 // BATCH)


class Stop(Exception):
    pass


def test_check_stops_every_stage_and_leaves_no_file(make_vae, shard_of, tmp_path: Path) -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 4:
            raise Stop

    with pytest.raises(Stop):
        shard_of(make_vae(), check=check)
    assert len(calls) == 4
    assert not list(tmp_path.glob("*-*"))


class FailingSource:
    """Latents for one batch, then an error."""

    def latents(self, first_row: int, rows: int):
        raise Stop


def test_an_error_in_the_latents_ends_all(make_vae, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        generate_shard(
            make_vae(), FailingSource(), ShardPlan(0, ROWS, BATCH, "npz"), tmp_path / "a", check=lambda: None
        )
    assert not (tmp_path / "a").exists()


def test_an_error_in_the_writer_ends_all(make_vae, shard_of, monkeypatch) -> None:
    class FullDisk(zipfile.ZipFile):
        def open(self, *args, **kwargs):
            raise Stop

    monkeypatch.setattr(zipfile, "ZipFile", FullDisk)
    calls = []
    with pytest.raises(Stop):
        shard_of(make_vae(), check=lambda: calls.append(1))
    assert len(calls) < 12


def test_rows_that_are_not_finite_are_named(make_vae, shard_of) -> None:
    vae = make_vae(weights={"decoder.out.weight": np.full((16, 4), 1e38, np.float32)})
    latents = shard_of(make_vae(), 1500, 100)["latents"]
    first = 1500 + int(np.argmax(np.abs(vae.decode(torch.from_numpy(latents)).numpy()).max(axis=1) == np.inf))
    assert first > 1500
    with pytest.raises(DataError, match=f"NaN or Inf in row {first:,}"):
        shard_of(vae, 1500, 100)


class BrokenVae:
    """A VAE whose decoder raises what torch raises."""

    def __init__(self, vae, error: Exception) -> None:
        self.manifest, self.device, self.prior_parameters, self.error = vae.manifest, vae.device, {}, error

    def decode(self, latents, labels=None):
        raise self.error


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), DataError),
    ],
)
def test_errors_of_the_device_are_translated(make_vae, shard_of, error: Exception, known: type) -> None:
    with pytest.raises(known, match=r"The decoder .* rows 0 to 127"):
        shard_of(BrokenVae(make_vae(), error))
