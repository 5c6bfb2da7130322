"""The main job with Postgres under it, as in the scaled mode: real workers, real API, the same bytes as with SQLite."""

from pathlib import Path

import numpy as np
import pytest

from latentmill import Client
from latentmill.demo import digits
from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE, SHORT

pytestmark = pytest.mark.full


def generated(stack: Stack, folder: Path) -> np.ndarray:
    """Rows of a job that draws from a fit, through everything."""
    client = Client(url=stack.url, api_key=stack.api_key)
    model = client.models.add(DEMO_BUNDLE).wait()
    dataset = client.datasets.add(digits.load().training, name="digits").wait()
    fit = client.fits.create(model, dataset, family={"kind": "mixture", "components": 4}).wait()
    job = client.jobs.create(
        model, strategy={"kind": "aggregate", "fit": fit.id}, rows=30_000, seed=9, shard_rows=7_000
    ).wait()
    shards = sorted(job.download(folder).glob("data-*.npz"))
    assert len(shards) == 5
    return np.concatenate([np.load(path)["rows"] for path in shards])


def test_rows_are_the_same_on_both_databases(stack, postgres_server, tmp_path_factory, tmp_path: Path) -> None:
    environment = {**SHORT, "LATENTMILL_DATABASE__URL": postgres_server.create()}
    with Stack(data_dir=tmp_path_factory.mktemp("postgres-stack"), port=0, environment=environment) as scaled:
        on_postgres = generated(scaled, tmp_path / "postgres")
    assert np.array_equal(on_postgres, generated(stack, tmp_path / "sqlite"))
