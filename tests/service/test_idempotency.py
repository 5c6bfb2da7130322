"""Idempotency keys: a creating request twice makes one thing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from service.idempotency.tables import IdempotencyRow

BODY = {"model": "digits", "strategy": {"kind": "prior"}, "rows": 10}


def post(client, key, body=BODY):
    return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})


def test_the_same_request_again_is_answered_the_same(client, model):
    first, again = post(client, "k1"), post(client, "k1")
    assert first.status_code == again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["data"]) == 1
    assert post(client, "k2").json()["id"] != first.json()["id"]


def test_another_body_under_the_same_key_is_refused(client, model):
    post(client, "k1")
    refused = post(client, "k1", BODY | {"rows": 11})
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")


def test_the_scope_of_a_key_is_tenant_and_route(client, stranger, model, dataset):
    post(client, "k1")
    fit = {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}}
    answer = client.post("/v1/fits", json=fit, headers={"Idempotency-Key": "k1"})
    assert "idempotent-replayed" not in answer.headers
    assert post(stranger, "k1").status_code == 404, "the model is not theirs"


def test_nothing_is_stored_for_a_refusal(client, upload, worker):
    assert post(client, "k1").status_code == 404
    upload("models", name="digits")
    answer = post(client, "k1")
    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers


def test_uploads_are_replayed_and_their_second_copy_goes(client, worker):
    def send(data):
        return client.post("/v1/models", files={"file": ("a", data)}, headers={"Idempotency-Key": "up"})

    first, again = send(b"one"), send(b"one")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(worker.stored_keys()) == 1
    assert send(b"two").json()["code"] == "idempotency_key_reused"
    assert len(worker.stored_keys()) == 1


def test_a_key_has_at_most_255_characters(client, model):
    assert post(client, "k" * 255).status_code == 202
    assert post(client, "k" * 256).status_code == 422


def test_a_key_is_forgotten_after_a_day(client, model, worker):
    first = post(client, "k1")
    with worker.server.database.writing() as session:
        session.execute(
            update(IdempotencyRow)
            .where(IdempotencyRow.tenant_id == worker.tenant_id)
            .values(created_at=worker.items("shard")[0].created_at - timedelta(hours=25))
        )
    assert post(client, "k1").json()["id"] != first.json()["id"]


def test_twins_at_the_same_moment_make_one_job(client, model):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(client, "twin"), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len([answer for answer in answers if "idempotent-replayed" in answer.headers]) == 7


@pytest.mark.parametrize("fields", [{}, {"name": "digits"}])
def test_the_same_upload_at_the_same_moment_makes_one_model(upload, worker, fields):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: upload("models", **fields), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(worker.stored_keys()) == 1
    assert len(worker.items("inspect")) == 1
