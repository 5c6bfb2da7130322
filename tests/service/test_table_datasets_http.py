"""Datasets for a table model (`model`): who waits for whom, what is the same, and what does not go together."""

import pytest

from latentmill.errors import InvalidBundle
from latentmill.specs import DatasetColumn, TableRows
from tests.service.steps import vae

COLUMNS = [
    {"name": "age", "kind": "integer"},
    {"name": "city", "kind": "category", "categories": ["Bonn", "Ulm"]},
]
TABLE = {"kind": "table", "columns": COLUMNS}
READ = [DatasetColumn.of(column).canonical() for column in TableRows.model_validate(TABLE).columns]


@pytest.fixture
def people(upload, worker):
    """A table model that is ready."""
    model = upload("models", b"people", name="people").json()["id"]
    worker.inspect(vae(rows=TABLE))
    return model


def test_rows_are_read_by_the_columns_of_the_model(client, upload, people, worker):
    added = upload("datasets", filename="a.csv", model="people")
    assert (added.status_code, added.json()["model"], added.json()["state"]) == (202, people, "reading")
    reading = worker.read(shape=(2,), columns=READ)
    assert reading.table == TableRows.model_validate(TABLE)
    ready = client.get(f"/v1/datasets/{added.json()['id']}").json()
    assert ready["columns"] == READ
    assert ready["state_reason"] is None


def test_the_same_bytes_for_another_model_are_another_dataset(upload, people, worker):
    plain = upload("datasets", filename="a.csv").json()["id"]
    by_name = upload("datasets", filename="a.csv", model="people").json()["id"]
    assert plain != by_name
    again = upload("datasets", filename="a.csv", model=people)
    assert (again.status_code, again.json()["id"]) == (200, by_name)
    upload("models", b"others", name="others")
    worker.inspect(vae(rows=TABLE))
    assert upload("datasets", filename="a.csv", model="others").json()["id"] not in (plain, by_name)


def test_rows_wait_for_a_model_that_is_still_inspected(client, upload, worker):
    model = upload("models", b"people").json()["id"]
    dataset = upload("datasets", filename="a.csv", model=model).json()
    assert dataset["state_reason"] == f"waiting for {model}"
    assert worker.items("read") == []
    refused = client.delete(f"/v1/models/{model}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert dataset["id"] in refused.json()["detail"]
    worker.inspect(vae(rows=TABLE))
    worker.read(shape=(2,), columns=READ)
    assert client.get(f"/v1/datasets/{dataset['id']}").json()["state"] == "ready"
    assert client.delete(f"/v1/models/{model}").status_code == 200, "what is read needs the model no more"
    assert client.get(f"/v1/datasets/{dataset['id']}").json()["model"] == model


def test_rows_that_waited_for_a_model_are_rejected_with_it(client, upload, worker):
    model = upload("models", b"people").json()["id"]
    dataset = upload("datasets", filename="a.csv", model=model, name="train").json()["id"]
    fit = client.post("/v1/fits", json={"model": model, "dataset": dataset, "family": {"kind": "gaussian"}}).json()
    worker.reject_model(InvalidBundle("no bundle"))
    rejected = client.get(f"/v1/datasets/{dataset}").json()
    assert (rejected["state"], rejected["error"]["detail"]) == ("rejected", "no bundle")
    assert client.get(f"/v1/fits/{fit['id']}").json()["state"] == "failed"
    assert worker.stored_keys() == []
    refused = upload("datasets", filename="b.csv", model=model)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")
    assert worker.stored_keys() == []


def test_rows_that_waited_for_a_model_that_is_no_table_are_rejected(client, upload, worker):
    model = upload("models", b"digits").json()["id"]
    dataset = upload("datasets", filename="a.csv", model=model).json()["id"]
    worker.inspect()
    rejected = client.get(f"/v1/datasets/{dataset}").json()
    assert rejected["error"]["code"] == "model_mismatch"
    assert "are of kind image: they have no columns to read a file by" in rejected["error"]["detail"]
    refused = upload("datasets", filename="b.csv", model=model)
    assert (refused.status_code, refused.json()["code"]) == (422, "model_mismatch")
    assert refused.json()["errors"][0]["pointer"] == "/model"


def test_another_tenants_model_is_not_there(stranger, people):
    refused = stranger.post("/v1/datasets", files={"file": ("a.csv", b"age,city\n1,Ulm\n")}, data={"model": people})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (404, "/model")


def test_a_deleted_dataset_needs_no_model(client, upload, worker):
    model = upload("models", b"people").json()["id"]
    dataset = upload("datasets", filename="a.csv", model=model).json()["id"]
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 200
    assert client.delete(f"/v1/models/{model}").status_code == 200


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (READ[:1], "the model's column 'city' is not among the dataset's (age); upload rows that have it"),
        ([*READ, {"name": "id", "kind": "integer"}], "the dataset's column 'id' is none of the model's"),
        ([{"name": "age", "kind": "category", "categories": ["x"]}, READ[1]], "'age' was read as one of kind category"),
        (
            ["age", "city"],
            "'city' was read as one of kind number, the model's is of kind category; upload the rows with",
        ),
        (None, "The rows of "),
    ],
)
def test_columns_that_the_model_has_not_are_refused_before_anything_is_encoded(
    client, upload, people, worker, columns, words
):
    dataset = upload("datasets", filename="a.csv").json()["id"]
    worker.read(shape=(2,), columns=columns)
    body = {"model": people, "dataset": dataset, "family": {"kind": "gaussian"}}
    refused = client.post("/v1/fits", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "model_mismatch")
    assert words in refused.json()["detail"]


@pytest.mark.parametrize("columns", [READ[::-1], [READ[1], {**READ[0], "kind": "number"}]])
def test_columns_in_any_order_and_rows_that_are_encoded_already_are_taken(client, upload, people, worker, columns):
    typed, encoded = upload("datasets", filename="a.csv").json()["id"], upload("datasets", b"encoded").json()["id"]
    worker.read(shape=(2,), columns=columns)
    worker.read(shape=(3,))
    for dataset in (typed, encoded):
        body = {"model": people, "dataset": dataset, "family": {"kind": "gaussian"}}
        assert client.post("/v1/fits", json=body).status_code == 202


def test_typed_columns_are_no_images(client, upload, worker):
    model, dataset = upload("models", b"digits").json()["id"], upload("datasets", filename="a.csv").json()["id"]
    worker.inspect()
    worker.read(shape=(64,), columns=READ)
    body = {"model": model, "dataset": dataset, "family": {"kind": "gaussian"}}
    refused = client.post("/v1/fits", json=body).json()
    assert f"{dataset} holds typed columns, the rows of {model} are of kind image" in refused["detail"]
