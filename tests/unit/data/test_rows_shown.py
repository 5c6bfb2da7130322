"""Rows that are shown: those of a preview have the bits of a shard, and stored ones are read as they were written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmill.errors import Internal
from latentmill.specs import Prior
from workers.generation import ShardPlan, generate_shard
from workers.generation.preview import preview_rows
from workers.models import TorchVae
from workers.posteriors.prior import declared_prior
from workers.rows import Field, RowBatch
from workers.sampling import LatentSource, open_strategy
from workers.shards import ShardBatch, ShardSchema, write_shard
from workers.shards.plain import plain_rows
from workers.shards.reading import stored_rows

ROWS, BATCH = 2_000, 128
INDICES = (1_999, 0, 5, 127, 128, 1_024, 5)  # across batches and blocks of noise, one of them twice
COLUMNS = [
    {"name": "income", "kind": "number", "mean": 3.0, "std": 2.0, "missing": True},
    {"name": "rooms", "kind": "integer", "std": 3.0},
    {"name": "city", "kind": "category", "categories": ["Bonn", "Ulm", "Köln"], "missing": True},
    {"name": "garden", "kind": "boolean"},
]
KINDS = {
    "image": {"rows": {"kind": "image", "shape": [1, 4, 4], "range": [-2, 2]}},
    "conditional": {"rows": {"kind": "tensor", "shape": [16]}, "classes": ["cat", "dog"]},
    "table": {"rows": {"kind": "table", "columns": [*COLUMNS, *({**c, "name": c["name"] + "2"} for c in COLUMNS)]}},
}


def source_of(vae: TorchVae) -> LatentSource:
    prior = declared_prior(vae.manifest, vae.prior_parameters)
    return open_strategy(Prior(), seed=3, rows=ROWS, manifest=vae.manifest, density=prior)


def plan_for(vae: TorchVae, format: str, **changes: Any) -> ShardPlan:
    classes = vae.manifest.labels.classes if vae.manifest.labels else None
    return ShardPlan(0, ROWS, BATCH, format, **{"include_latents": True, "classes": classes, "seed": 3, **changes})


@pytest.mark.parametrize(
    ("kind", "format", "output"),
    [
        ("image", "npz", "mean"),
        ("image", "parquet", "sample"),
        ("conditional", "npz", "sample"),
        ("conditional", "parquet", "mean"),
        ("table", "npz", "mean"),
        ("table", "parquet", "sample"),
    ],
)
def test_a_preview_has_the_rows_of_the_shard(make_vae, tmp_path: Path, kind: str, format: str, output: str) -> None:
    vae = make_vae(**KINDS[kind], likelihood={"kind": "gaussian", "std": 0.3})
    path, plan = tmp_path / "shard", plan_for(vae, format, output=output)
    generate_shard(vae, source_of(vae), plan, path, check=lambda: None)
    schema, batch = preview_rows(vae, source_of(vae), plan, INDICES, check=lambda: None)
    shown = plain_rows(schema, batch)
    stored = [stored_rows(format, path, schema, index, index + 1) for index in INDICES]
    for name in ("rows", "labels", "latents"):
        assert shown[name] == ([one[name][0] for one in stored] if stored[0][name] is not None else None)
    assert (shown["labels"] is not None) == (kind == "conditional")
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    if kind == "table":
        values = [row["city"] for row in stored_rows(format, path, schema, 0, ROWS)["rows"]]
        assert set(values) == {"Bonn", "Ulm", "Köln", None}


def shard_of(rows: int) -> tuple[ShardSchema, ShardBatch]:
    fields = (Field("n", np.dtype(np.float64), missing=True), Field("k", np.dtype(np.int32), categories=("a", "b")))
    number = np.arange(rows)
    values = {"n": np.where(number % 3 == 0, np.nan, number / 7), "k": (number % 2).astype(np.int32)}
    schema = ShardSchema.of(fields, latent_shape=(2,), classes=("x", "y"))
    beside = {"latents": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), "labels": number % 2}
    return schema, ShardBatch(RowBatch(values, {"n": number % 3 == 0}), beside)


@pytest.mark.parametrize("format", ["npz", "parquet"])
@pytest.mark.parametrize(("first", "stop"), [(0, 1), (0, 1_000), (255, 257), (511, 1_000), (999, 1_000)])
def test_any_range_of_a_shard_is_read_as_it_was_written(tmp_path: Path, monkeypatch, format, first, stop) -> None:
    monkeypatch.setattr("workers.shards.parquet.MAX_GROUP_ROWS", 256)
    schema, batch = shard_of(1_000)
    write_shard(format, tmp_path / "shard", schema, 1_000, [batch])
    read = stored_rows(format, tmp_path / "shard", schema, first, stop)
    assert read == plain_rows(schema, batch.cut(first, stop))
    assert read["rows"][0] == {"n": None if first % 3 == 0 else first / 7, "k": "ab"[first % 2]}
    assert (read["labels"][0], read["latents"][0]) == ("xy"[first % 2], [2 * first, 2 * first + 1])


def test_an_npz_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "shard.npz", rows=np.zeros(3))
    schema, _ = shard_of(3)
    with pytest.raises(Internal, match="compressed"):
        stored_rows("npz", tmp_path / "shard.npz", schema, 0, 1)


def test_a_preview_stops_between_batches_when_it_is_told_to(make_vae) -> None:
    vae = make_vae()
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        preview_rows(vae, source_of(vae), plan_for(vae, "npz"), INDICES, check=check)
