"""A request's id goes with the work that it starts, to the worker and into the error that the resource ends with."""

ASKED = {"X-Request-Id": "from-the-notebook.7"}


def items_of(worker, kind: str) -> list[str | None]:
    return [item.request_id for item in worker.items(kind)]


def test_what_a_request_starts_knows_it(client, worker, model):
    body = {"model": model, "strategy": {"kind": "prior"}, "rows": 1000, "shard_rows": 100}
    client.post("/v1/jobs", json=body, headers=ASKED)
    assert items_of(worker, "shard") == ["from-the-notebook.7"] * 10
    taken = worker.take("shard")
    assert taken.request_id == "from-the-notebook.7"


def test_a_request_without_an_id_gives_its_work_the_one_it_was_answered(client, worker, model):
    made = client.post("/v1/jobs", json={"model": model, "strategy": {"kind": "prior"}, "rows": 10})
    assert items_of(worker, "shard") == [made.headers["x-request-id"]]


def test_an_upload_knows_it_too(client, worker):
    client.post("/v1/models", files={"file": ("a", b"bytes")}, headers=ASKED)
    assert items_of(worker, "inspect") == ["from-the-notebook.7"]


def test_what_a_worker_starts_inherits_it(client, worker, model):
    client.post("/v1/jobs", json={"model": model, "strategy": {"kind": "prior"}, "rows": 10}, headers=ASKED)
    worker.shard()
    assert items_of(worker, "finalize") == ["from-the-notebook.7"]
