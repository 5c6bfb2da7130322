"""Datasets and fits over HTTP: upload, read, encode, fit, wait, fail, delete."""

import pytest

from latentmill.errors import DataError, InvalidBundle, InvalidDataset
from service.datasets import operations
from tests.service.steps import vae

GAUSSIAN = {"kind": "gaussian"}


def fit_body(model="digits", dataset="train", **changes):
    return {"model": model, "dataset": dataset, "family": GAUSSIAN} | changes


def test_a_dataset_is_read_and_shows_what_it_holds(client, worker):
    files = {"file": ("train.npz", b"rows"), "labels": ("labels.npy", b"labels")}
    answer = client.post("/v1/datasets", files=files, data={"name": "train"})
    assert answer.status_code == 202
    made = answer.json()
    assert made["state"] == "reading"
    assert made["kind"] == "rows"
    assert len(worker.stored_keys()) == 2
    worker.read(rows=30, labels={"0": 10, "2": 15, "10": 5})
    ready = client.get("/v1/datasets/train").json()
    assert ready["state"] == "ready"
    assert ready["rows"] == 30
    assert ready["row_shape"] == [8, 8]
    assert list(ready["labels"].items()) == [("0", 10), ("2", 15), ("10", 5)]
    assert ready["digest"] == "d" * 64
    assert len(worker.stored_keys()) == 1, "the uploads are gone, the rows stay"


def test_other_options_make_another_dataset(upload):
    first = upload("datasets", filename="a.csv").json()["id"]
    assert upload("datasets", filename="a.csv").json()["id"] == first
    assert upload("datasets", filename="a.csv", label_column="y").json()["id"] != first


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"kind": "columns"}, 422, "/kind"),
        ({"kind": "images"}, 422, "/kind"),
        ({"model": "digits"}, 404, "/model"),
        ({"model": ""}, 422, "/model"),
        ({"model": "digits", "kind": "latents"}, 422, "/model"),
        ({"label_column": ""}, 422, "/label_column"),
        ({"nonsense": "1"}, 422, "/nonsense"),
        ({"name": "x" * 70_000}, 422, "/name"),
    ],
)
def test_a_bad_option_is_refused_and_its_bytes_are_gone(upload, worker, fields, status, pointer):
    refused = upload("datasets", **fields)
    assert refused.status_code == status
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert worker.stored_keys() == []


def test_a_fit_waits_for_what_it_needs_and_then_runs(client, upload, worker):
    model = upload("models", name="digits").json()["id"]
    dataset = upload("datasets", name="train").json()["id"]
    answer = client.post("/v1/fits", json=fit_body(name="g"))
    assert answer.status_code == 202
    fit = answer.json()
    assert fit["state"] == "queued"
    assert model in fit["state_reason"]
    assert dataset in fit["state_reason"]
    assert worker.items("encode") == []
    worker.inspect()
    assert worker.items("encode") == []
    worker.read()
    worker.encode()
    assert client.get("/v1/fits/g").json()["state_reason"] is None
    worker.fit()
    ready = client.get("/v1/fits/g").json()
    assert ready["state"] == "ready"
    assert ready["progress"] == 1.0
    assert ready["family"] == {"kind": "gaussian", "covariance": "full"}
    assert ready["diagnostics"]["gain"]["value"] == 1.5
    parameters = client.get(ready["parameters_url"])
    assert parameters.content == b"parameters"
    assert [row["id"] for row in client.get("/v1/fits", params={"model": "digits"}).json()["data"]] == [fit["id"]]
    assert client.get("/v1/fits", params={"dataset": dataset}).json()["data"][0]["id"] == fit["id"]


def test_the_same_fit_request_is_the_same_fit(client, fit):
    again = client.post("/v1/fits", json=fit_body())
    assert again.status_code == 200
    assert again.json()["id"] == fit
    assert client.post("/v1/fits", json=fit_body(seed=1)).json()["id"] != fit


def test_a_second_fit_uses_the_encoding_of_the_first(client, fit, worker):
    client.post("/v1/fits", json=fit_body(seed=1))
    assert worker.items("encode") == []
    assert len(worker.items("fit")) == 1


def test_a_failed_fit_is_tried_again_under_the_same_id(client, model, dataset, worker):
    made = client.post("/v1/fits", json=fit_body()).json()["id"]
    worker.encode()
    worker.fail("fit", DataError("row 7 has a NaN"))
    failed = client.get(f"/v1/fits/{made}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["detail"] == "row 7 has a NaN"
    again = client.post("/v1/fits", json=fit_body())
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, made, "queued")
    worker.fit()
    assert client.get(f"/v1/fits/{made}").json()["state"] == "ready"


def test_a_failed_encoding_fails_its_fits_and_is_made_anew(client, model, dataset, worker):
    made = client.post("/v1/fits", json=fit_body()).json()["id"]
    worker.fail("encode", DataError("row 7: std is NaN"))
    assert client.get(f"/v1/fits/{made}").json()["error"]["detail"] == "row 7: std is NaN"
    assert client.post("/v1/fits", json=fit_body()).status_code == 202
    worker.encode()
    worker.fit()
    assert client.get(f"/v1/fits/{made}").json()["state"] == "ready"


def test_a_fit_fails_with_the_error_of_what_it_waits_for(client, upload, worker):
    upload("models", name="digits")
    upload("datasets", name="train")
    made = client.post("/v1/fits", json=fit_body()).json()["id"]
    worker.reject_model(InvalidBundle("not a zip"))
    failed = client.get(f"/v1/fits/{made}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["code"] == "invalid_bundle"
    refused = client.post("/v1/fits", json=fit_body(seed=3))
    assert refused.status_code == 409
    assert refused.json()["code"] == "not_ready"
    assert refused.json()["errors"][0]["pointer"] == "/model"


def test_a_mismatch_that_shows_late_fails_the_fit(client, upload, worker):
    upload("models", name="digits")
    upload("datasets", name="train")
    made = client.post("/v1/fits", json=fit_body()).json()["id"]
    worker.read(shape=(3, 3))
    worker.inspect()
    failed = client.get(f"/v1/fits/{made}").json()
    assert failed["state"] == "failed"
    assert failed["error"]["code"] == "model_mismatch"


def test_a_mismatch_that_shows_at_once_is_refused(client, model, upload, worker):
    upload("datasets", name="train")
    worker.read(shape=(3, 3))
    refused = client.post("/v1/fits", json=fit_body())
    assert refused.status_code == 422
    assert refused.json()["code"] == "model_mismatch"
    assert worker.items("encode") == []


def test_a_rejected_dataset_is_not_ready(client, model, upload, worker):
    upload("datasets", name="train")
    taken = worker.take("read")
    with worker.server.database.writing() as session:
        keys = operations.reject(session, taken, InvalidDataset("no array `rows`").problem())
        worker.outcomes.delete_files(session, keys)
    assert len(worker.stored_keys()) == 1, "the model's bundle alone"
    refused = client.post("/v1/fits", json=fit_body())
    assert refused.status_code == 409
    assert "no array" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"by_label": True}, 422, "/by_label"),
        ({"family": {"kind": "flow", "transforms": 0}}, 422, "/family/transforms"),
        ({"family": {"kind": "empirical", "components": 0}}, 422, "/family/components"),
        ({"family": {"kind": "empirical", "bandwidth": 0}}, 422, "/family/bandwidth"),
        ({"family": {"kind": "normal"}}, 422, "/family"),
        ({"family": {"kind": "mixture", "components": 0}}, 422, "/family/components"),
        ({"model": "unknown"}, 404, "/model"),
        ({"dataset": "dat_unknown"}, 404, "/dataset"),
        ({"holdout": 0.9}, 422, "/holdout"),
        ({"seed": 2**53}, 422, "/seed"),
        ({"wrong": 1}, 422, "/wrong"),
    ],
)
def test_a_bad_fit_request_names_its_field(client, model, dataset, change, status, pointer):
    refused = client.post("/v1/fits", json=fit_body() | change)
    assert refused.status_code == status
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert client.get("/v1/fits").json()["data"] == []


def test_deleting_a_dataset_deletes_its_encodings_and_keeps_the_fit(client, fit, dataset, worker):
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 200
    assert client.get(f"/v1/datasets/{dataset}").status_code == 410
    assert [key for key in worker.stored_keys() if "encodings" in key or "datasets" in key] == []
    assert client.get(f"/v1/fits/{fit}").json()["state"] == "ready"


def test_a_dataset_that_a_fit_waits_for_is_in_use(client, model, dataset, worker):
    made = client.post("/v1/fits", json=fit_body()).json()["id"]
    refused = client.delete(f"/v1/datasets/{dataset}")
    assert refused.json()["code"] == "in_use"
    assert refused.json()["errors"][0]["message"] == made
    assert client.delete(f"/v1/fits/{made}").status_code == 200
    assert client.get(f"/v1/fits/{made}").status_code == 410
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 200
    assert worker.items("encode") == []


def test_parameters_of_a_fit_that_is_not_ready(client, model, dataset):
    made = client.post("/v1/fits", json=fit_body()).json()["id"]
    refused = client.get(f"/v1/fits/{made}/parameters")
    assert refused.status_code == 409
    assert refused.json()["code"] == "not_ready"


def test_the_empirical_family_needs_an_encoder_with_noise(client, upload, worker, dataset):
    upload("models", b"another bundle", name="autoencoder")
    worker.inspect(vae(encoder={"scale": "none"}))
    refused = client.post("/v1/fits", json=fit_body("autoencoder", family={"kind": "empirical"}))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/family/kind"
    assert "gaussian, mixture or flow" in refused.json()["detail"]
    body = {"model": "autoencoder", "dataset": "train", "candidates": [{"kind": "gaussian"}, {"kind": "empirical"}]}
    refused = client.post("/v1/reports", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/candidates/1/kind")
    assert client.post("/v1/fits", json=fit_body("autoencoder")).status_code == 202
