"""A tenant that has something of every kind in every state, so that what tries all addresses finds something there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from latentmill.errors import DataError, InvalidBundle, InvalidDataset
from service.datasets import operations as datasets
from tests.service.steps import Worker

DOOMED = 12  # of what is tried with requests that end it


@dataclass
class Everything:
    """Ids and names by kind; those under `doomed` are for requests that delete or stop what they name."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    doomed: dict[str, list[str]] = field(default_factory=dict)
    finished: str = ""  # a job that has all of its files
    over: list[str] = field(default_factory=list)  # jobs whose streams of events end


def made(client: httpx.Client, upload: Callable[..., httpx.Response], worker: Worker) -> Everything:
    """Everything, with a model `digits`, a dataset `train`, a fit `digits-mixture` and a job `digits-1000` among it."""
    there = Everything()
    _models_and_datasets(there, upload, worker)
    _fits_and_reports(there, client, worker)
    _jobs(there, client, worker)
    return there


def _models_and_datasets(there: Everything, upload: Callable[..., httpx.Response], worker: Worker) -> None:
    def add(to: str, kind: str, number: int, **fields: str) -> str:
        made: str = upload(to, f"{to} {number}".encode(), **fields).json()["id"]
        there.ids.setdefault(kind, []).append(made)
        return made

    add("models", "model", 0, name="digits")
    worker.inspect()
    add("models", "model", 1)
    worker.reject_model(InvalidBundle())
    add("models", "model", 2)
    add("datasets", "dataset", 0, name="train")
    worker.read(labels={"0": 50, "1": 50})
    add("datasets", "dataset", 1)
    taken = worker.take("read")
    with worker.server.database.writing() as session:
        datasets.reject(session, taken, InvalidDataset().problem())
        worker.outcomes.settled(session, "dataset", taken.subject_id, InvalidDataset().problem())
    add("datasets", "dataset", 2)
    for number in range(DOOMED):
        for to, kind in (("models", "model"), ("datasets", "dataset")):
            there.doomed.setdefault(kind, []).append(upload(to, f"doomed {number}".encode()).json()["id"])


def _fits_and_reports(there: Everything, client: httpx.Client, worker: Worker) -> None:
    def add(kind: str, to: str, **fields: Any) -> str:
        answer = client.post(f"/v1/{kind}s", json={"model": "digits", "dataset": "train", **fields})
        assert answer.status_code == 202, answer.text
        there.__dict__[to].setdefault(kind, []).append(answer.json()["id"])
        return str(answer.json()["id"])

    mixture = {"kind": "mixture", "components": 10}
    add("fit", "ids", family=mixture, name="digits-mixture")
    worker.encode()
    worker.fit()
    add("fit", "ids", family={"kind": "gaussian"})
    worker.fail("fit", DataError())
    add("report", "ids", candidates=[{"kind": "prior"}], name="digits-report")
    worker.report({"mismatch": {}, "floors": {}, "candidates": [], "recommendation": {"strategy": None}})
    add("report", "ids", candidates=[{"kind": "prior"}])
    worker.fail("report", DataError())
    for seed in range(1, DOOMED):
        add("fit", "doomed", family=mixture, seed=seed)
        add("report", "doomed", candidates=[{"kind": "prior"}], seed=seed)
    add("fit", "ids", family={"kind": "mixture"}, seed=100)
    add("report", "ids", candidates=[{"kind": "prior"}], seed=100)


def _jobs(there: Everything, client: httpx.Client, worker: Worker) -> None:
    def add(to: str = "ids", **fields: Any) -> str:
        body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 500}
        answer = client.post("/v1/jobs", json=body | fields)
        assert answer.status_code == 202, answer.text
        there.__dict__[to].setdefault("job", []).append(answer.json()["id"])
        return str(answer.json()["id"])

    there.finished = add(name="digits-1000")
    worker.shard()
    worker.shard()
    worker.finalize()
    add()
    worker.shard()
    worker.fail("shard", DataError())
    client.post(f"/v1/jobs/{add()}/cancel")
    client.delete(f"/v1/jobs/{add()}")
    there.over += there.ids["job"]
    add()
    worker.shard()
    for _ in range(DOOMED):
        add("doomed")
    for job in there.doomed["job"][::2]:
        client.post(f"/v1/jobs/{job}/cancel")
