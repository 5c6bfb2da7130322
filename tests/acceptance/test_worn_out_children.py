"""A worker's child that has grown beyond its bound is replaced after its item: nothing is lost on the way."""

import sqlite3
import time
from contextlib import closing

import pytest

from latentmill import Client
from latentmill.stack import Stack
from tests.acceptance.conftest import DEMO_BUNDLE, SHORT

SHARDS = 6

pytestmark = pytest.mark.full


def test_a_child_that_is_replaced_after_every_item_loses_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Sweeps are rare here: a claim or a message that is lost would show as a minute without progress.
    environment = {
        **SHORT, "LATENTMILL_WORKER__MEMORY_BYTES": "1000000", "LATENTMILL_WORK__SWEEP_SECONDS": "60",
        "LATENTMILL_WORK__REPUBLISH_SECONDS": "600", "LATENTMILL_WORK__LEASE_SECONDS": "600",
    }  # fmt: skip
    with Stack(data_dir=tmp_path_factory.mktemp("worn"), port=0, environment=environment) as stack:
        client = Client(url=stack.url, api_key=stack.api_key)
        model = client.models.add(DEMO_BUNDLE).wait()
        began = time.monotonic()
        job = client.jobs.create(model, strategy={"kind": "prior"}, rows=SHARDS * 1000, shard_rows=1000).wait()
        assert time.monotonic() - began < 60
        with closing(sqlite3.connect(stack.data_dir / "latentmill.db")) as database:
            found = database.execute(
                "SELECT owner, attempts, lost FROM work_items WHERE subject_id = ? AND kind = 'shard'", [job.id]
            ).fetchall()
    assert {(attempts, lost) for _, attempts, lost in found} == {(1, 0)}
    assert len({owner for owner, _, _ in found}) == SHARDS
