"""A bounded tenant on the real stack: jobs take turns, what does not fit is refused, what expires goes; and the client
of a tenant that asks too often gets there all the same."""

import itertools
import time
from datetime import datetime

import numpy as np
import pytest

from latentmill import Client
from latentmill.errors import Gone, LimitExceeded
from latentmill.stack import Stack
from service.database import open_database
from service.keys import operations as keys
from service.keys.pepper import pepper_of
from service.settings import Settings
from tests.acceptance.conftest import DEMO_BUNDLE
from tests.files import files_in


@pytest.fixture(scope="module")
def bounded(stack: Stack) -> Client:
    """A client of the tenant `bounded`."""
    settings = Settings(data_dir=stack.data_dir)
    with open_database(settings) as database, database.writing() as session:
        text = keys.create(session, pepper=pepper_of(settings), tenant="bounded").text
    return Client(url=stack.url, api_key=text)


def test_a_bounded_tenant(bounded: Client, stack: Stack, tmp_path) -> None:
    model = bounded.models.add(DEMO_BUNDLE).wait()
    jobs = [bounded.jobs.create(model, strategy={"kind": "prior"}, rows=200, seed=n, shard_rows=100) for n in range(3)]
    assert jobs[2].state_reason.startswith("running_jobs: at most 1")
    # Its requests are far more than 5 at once and 20 a second allow: they wait, and none fails.
    ended = [job.wait(progress=lambda job: None) for job in jobs]
    for before, after in itertools.pairwise(ended):
        assert datetime.fromisoformat(after.started_at) >= datetime.fromisoformat(before.finished_at)
    for job in ended:
        assert (job.download(tmp_path / job.id) / "manifest.json").exists()
    usage = bounded.limits()["usage"]
    made = sum(job.progress["bytes"] for job in ended)
    assert (usage["stored_bytes"], usage["planned_bytes"]) == (DEMO_BUNDLE.stat().st_size + made, 0)
    assert (usage["running_jobs"], usage["queued_jobs"]) == (0, 0)

    np.savez_compressed(tmp_path / "zeros.npz", rows=np.zeros((5000, 8, 8), np.uint8))  # small to send, large to keep
    assert (tmp_path / "zeros.npz").stat().st_size < 5000
    with pytest.raises(LimitExceeded, match="stored_bytes is 400,000"):
        bounded.datasets.add(tmp_path / "zeros.npz").wait()
    assert bounded.limits()["usage"]["stored_bytes"] == usage["stored_bytes"], "what was read is gone again"

    going = bounded.jobs.create(model, strategy={"kind": "prior"}, rows=10, expires_in=1).wait()

    def its_files() -> list[str]:
        return [name for name in files_in(stack.data_dir / "files") if going.id in name]

    assert its_files()
    deadline = time.monotonic() + 30
    while its_files():
        assert time.monotonic() < deadline, "its files stay"
        time.sleep(0.1)
    with pytest.raises(Gone, match=f"{going.id} was deleted: it expired at"):
        going.refresh()
