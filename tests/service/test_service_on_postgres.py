"""The same service on Postgres, where transactions really run side by side."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from latentmill.errors import DataError
from service.database import ROW_LOCK
from service.fits import encodings
from service.fits.tables import EncodingRow, FitRow
from service.jobs import operations, shards
from service.jobs.states import lock
from service.previews import operations as previews
from service.reports import operations as reports
from service.reports.tables import ReportRow
from service.settings import BrokerSettings, DatabaseSettings, KeySettings, Settings
from service.work import Claim, FenceLost
from tests.service.conftest import serving
from tests.service.steps import Server

FAMILIES = [{"kind": "gaussian"}, {"kind": "mixture"}]
REPORT = {"model": "digits", "dataset": "train", "candidates": FAMILIES}


@pytest.fixture
def server(tmp_path: Path, postgres_url: str) -> Iterator[Server]:
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=postgres_url),
        broker=BrokerSettings(url=f"redis+socket://{tmp_path}/no-broker"),
        keys=KeySettings(pepper=SecretStr("a pepper for tests")),
    )
    with serving(settings) as running:
        yield running


def test_two_last_shards_that_are_committed_together_end_the_job(client, model, worker):
    body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 250}
    job = client.post("/v1/jobs", json=body).json()["id"]
    held = [worker.take("shard") for _ in range(4)]
    asked = []
    for taken in held:
        with worker.server.database.writing() as session:
            asked.append(shards.shard_work_of(session, taken))
    together = Barrier(4)

    def commit(number: int) -> None:
        together.wait(10)
        worker.commit(held[number], asked[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(commit, range(4)))
    seen = client.get(f"/v1/jobs/{job}").json()
    assert (seen["state"], seen["progress"]["rows_done"], seen["progress"]["shards_done"]) == ("finalizing", 1000, 4)
    assert len(worker.items("finalize")) == 1
    worker.finalize()
    events = client.get(f"/v1/jobs/{job}/events").text
    numbers = [int(line.removeprefix("id: ")) for line in events.splitlines() if line.startswith("id: ")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_twins_at_the_same_moment_make_one_thing(client, upload, model, dataset, worker):
    job = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}
    fit = {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}}

    def post(path, body, headers=None):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: client.post(path, json=body, headers=headers), range(8)))

    jobs = post("/v1/jobs", job, {"Idempotency-Key": "twin"})
    assert [answer.status_code for answer in jobs] == [202] * 8
    assert len({answer.json()["id"] for answer in jobs}) == 1
    fits = post("/v1/fits", fit)
    assert sorted(answer.status_code for answer in fits) == [200] * 7 + [202]
    assert len({answer.json()["id"] for answer in fits}) == 1
    assert len(worker.items("encode")) == 1
    with ThreadPoolExecutor(8) as pool:
        uploads = list(pool.map(lambda _: upload("models", b"twin"), range(8)))
    assert sorted(answer.status_code for answer in uploads) == [200] * 7 + [202]
    with ThreadPoolExecutor(8) as pool:
        named = list(pool.map(lambda number: upload("models", str(number).encode(), name="one"), range(8)))
    assert sorted(answer.status_code for answer in named) == [202] + [409] * 7


def test_a_fit_whose_model_and_dataset_get_ready_together_starts_once(client, upload, worker):
    upload("models", b"a bundle", name="digits")
    upload("datasets", b"rows", name="train")
    body = {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}}
    made = client.post("/v1/fits", json=body).json()["id"]
    with ThreadPoolExecutor(2) as pool:
        for step in [pool.submit(worker.inspect), pool.submit(worker.read)]:
            step.result(10)
    worker.encode()
    worker.fit()
    assert client.get(f"/v1/fits/{made}").json()["state"] == "ready"
    assert client.delete("/v1/datasets/train").status_code == 200
    assert client.delete(f"/v1/fits/{made}").status_code == 200


def test_a_cancel_while_what_the_job_waits_for_gets_ready_does_not_deadlock(client, upload, worker):
    upload("models", b"a bundle", name="digits")
    job = client.post("/v1/jobs", json={"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}).json()["id"]
    with ThreadPoolExecutor(1) as pool:
        with worker.server.database.writing() as session:
            lock(session, job)
            inspected = pool.submit(worker.inspect)
            assert waits_for_a_lock(worker.server)
            # The model is ready and its transaction waits for this one, which goes on to what the job needs.
            operations.cancel(session, worker.tenant_id, job)
        inspected.result(10)
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert client.get("/v1/models/digits").json()["state"] == "ready"
    assert worker.items("shard") == []


def test_a_dataset_deleted_while_its_model_gets_ready_does_not_deadlock(client, upload, worker):
    upload("models", b"a bundle", name="digits")
    upload("datasets", b"rows", name="train")
    body = {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}}
    fit = client.post("/v1/fits", json=body).json()["id"]
    assert client.delete(f"/v1/fits/{fit}").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        with worker.server.database.writing() as session:
            encoding = session.execute(select(EncodingRow.id).with_for_update()).scalar_one()
            inspected = pool.submit(worker.inspect)
            assert waits_for_a_lock(worker.server)
            assert encodings.delete_of(session, dataset_id=dataset_of(session, encoding)) == []
        inspected.result(10)
    assert worker.items("encode") == []


def test_the_last_fits_of_a_report_may_settle_together(client, model, dataset, worker):
    made = client.post("/v1/reports", json=REPORT).json()
    worker.encode()
    taken = [worker.take("fit") for _ in made["candidates"][1:]]
    together = Barrier(len(taken))

    def give_up(claim: Claim) -> None:
        together.wait(10)
        with worker.server.database.writing() as session:
            worker.outcomes.given_up(session, claim, DataError("too few rows").problem())

    with ThreadPoolExecutor(len(taken)) as pool:
        list(pool.map(give_up, taken))
    assert len(worker.items("report")) == 1
    asked = worker.report({"recommendation": None})
    assert [candidate.error for candidate in asked.candidates] == [None, "too few rows", "too few rows"]
    assert client.get(f"/v1/reports/{made['id']}").json()["state"] == "ready"
    assert client.delete(f"/v1/reports/{made['id']}").status_code == 200


def test_reports_that_begin_the_same_fits_anew_wait_for_each_other(client, model, dataset, worker):
    client.post("/v1/reports", json=REPORT)
    worker.encode()
    for _ in FAMILIES:
        worker.fail("fit", DataError("by chance"))
    orders = [REPORT | {"candidates": order} for order in (FAMILIES, FAMILIES[::-1])] * 4
    with ThreadPoolExecutor(len(orders)) as pool:
        answers = list(pool.map(lambda body: client.post("/v1/reports", json=body), orders))
    assert [answer.status_code for answer in answers] == [202] * len(orders)
    assert len(worker.items("fit")) == len(FAMILIES)


def test_a_fit_that_is_begun_anew_is_locked_after_its_encoding(client, model, dataset, worker):
    body = {"model": "digits", "dataset": "train", "family": FAMILIES[0]}
    fit = client.post("/v1/fits", json=body).json()["id"]
    worker.encode()
    worker.fail("fit", DataError("by chance"))
    with ThreadPoolExecutor(1) as pool:
        with worker.server.database.writing() as session:
            session.execute(select(EncodingRow.id).with_for_update())
            again = pool.submit(client.post, "/v1/fits", json=body)
            assert waits_for_a_lock(worker.server)
            # As a report does when its encoding gets ready; it raises where the other one holds the fit already.
            session.execute(select(FitRow.id).where(FitRow.id == fit).with_for_update(nowait=True))
        assert again.result(10).status_code == 202


def test_a_report_deleted_while_its_fit_settles_does_not_deadlock(client, model, dataset, worker):
    made = client.post("/v1/reports", json=REPORT | {"candidates": FAMILIES[:1]}).json()
    worker.encode()
    with ThreadPoolExecutor(1) as pool:
        with worker.server.database.writing() as session:
            session.get_one(ReportRow, made["id"], with_for_update=ROW_LOCK)
            fitted = pool.submit(worker.fit)
            assert waits_for_a_lock(worker.server)
            reports.delete(session, worker.tenant_id, made["id"])
        fitted.result(10)
    assert client.get(f"/v1/fits/{made['candidates'][1]['fit']}").json()["state"] == "ready"
    assert worker.items("report") == []


def test_a_nul_in_a_reference_names_nothing(client, model, upload):
    assert client.get("/v1/models/%00").status_code == 404
    assert client.get("/v1/jobs?model=%00").status_code == 404
    body = {"model": "\0", "strategy": {"kind": "prior"}, "rows": 10}
    assert client.post("/v1/jobs", json=body).json()["errors"][0]["pointer"] == "/model"
    assert client.get("/v1/jobs?cursor=AAAA").status_code == 422
    assert upload("datasets", b"rows", "a\0.npz").status_code == 202
    assert upload("datasets", b"more", "a.npz", label_column="\0").status_code == 422
    kept = client.post("/v1/jobs", json=body | {"model": "digits", "metadata": {"a": "\0"}})
    assert (kept.status_code, kept.json()["metadata"]) == (202, {"a": "\0"})


def waits_for_a_lock(server: Server) -> bool:
    """Whether, within some seconds, a transaction waits for a lock that another one holds."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with server.database.reading() as session:
            if session.execute(waiting).scalar_one():
                return True
        time.sleep(0.02)
    return False


def dataset_of(session: Session, encoding_id: str) -> str:
    return session.get_one(EncodingRow, encoding_id).dataset_id


def test_a_preview_is_answered_or_given_up_but_never_both(client, model, worker):
    def preview() -> int:
        body = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 2}
        return int(client.post("/v1/previews", json=body).status_code)

    for attempt in range(6):
        with ThreadPoolExecutor(3) as pool:
            answer = pool.submit(preview)
            while not worker.items("preview"):
                time.sleep(0.005)
            held = worker.take("preview")
            together = Barrier(2)

            def commit(held=held, together=together) -> bool:
                together.wait(10)
                try:
                    with worker.server.database.writing() as session:
                        previews.commit_preview(session, held, content=b"[]")
                except FenceLost:
                    return False
                return True

            committed = pool.submit(commit)
            together.wait(10)
            time.sleep(0.002 * (attempt % 3))
            with worker.server.database.writing() as session:
                previews.give_up(session, held.subject_id)
            assert answer.result(10) == (200 if committed.result(10) else 503)
