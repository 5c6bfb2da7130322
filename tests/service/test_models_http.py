"""Models over HTTP: upload, inspect, list, name, delete."""

import hashlib

from latentmill.errors import InvalidBundle


def test_an_uploaded_model_is_inspected_and_ready(client, upload, worker):
    answer = upload("models", b"a bundle", "digits.vae.zip", name="digits")
    assert answer.status_code == 202
    made = answer.json()
    assert answer.headers["location"] == f"/v1/models/{made['id']}"
    assert made["object"] == "model"
    assert made["id"].startswith("mdl_")
    assert made["state"] == "inspecting"
    assert made["name"] == "digits"
    assert made["digest"] == hashlib.sha256(b"a bundle").hexdigest()
    assert made["manifest"] is None
    assert made["error"] is None
    assert made["metadata"] == {}
    worker.inspect()
    ready = client.get("/v1/models/digits").json()
    assert ready["id"] == made["id"]
    assert ready["state"] == "ready"
    assert ready["manifest"]["schema"] == 1
    assert ready["manifest"]["latent"] == {"shape": [2]}
    assert ready["executions"]["cpu"]["rows_per_s"] == 10_000
    assert ready["warnings"] == ["a warning"]


def test_the_same_bytes_and_name_are_the_same_model(client, upload, worker):
    first = upload("models", name="digits")
    again = upload("models", name="digits")
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]
    worker.inspect()
    assert upload("models", name="digits").status_code == 200
    assert len(worker.stored_keys()) == 1
    other = upload("models", name="other")
    assert other.status_code == 202
    assert other.json()["id"] != first.json()["id"]


def test_a_rejected_model_keeps_its_problem_and_loses_its_bytes(client, upload, worker):
    made = upload("models", name="digits").json()
    worker.reject_model(InvalidBundle("weights.safetensors is missing"))
    rejected = client.get(f"/v1/models/{made['id']}").json()
    assert rejected["state"] == "rejected"
    assert rejected["error"]["code"] == "invalid_bundle"
    assert "weights.safetensors" in rejected["error"]["detail"]
    assert worker.stored_keys() == []


def test_a_rejected_upload_is_tried_again_under_the_same_id(client, upload, worker):
    made = upload("models", name="digits").json()
    worker.reject_model(InvalidBundle())
    again = upload("models", name="digits")
    assert again.status_code == 202
    assert again.json()["id"] == made["id"]
    assert again.json()["state"] == "inspecting"
    assert again.json()["error"] is None
    worker.inspect()
    assert client.get(f"/v1/models/{made['id']}").json()["state"] == "ready"


def test_a_name_is_taken_once_per_kind(upload, worker):
    upload("models", b"one", name="digits")
    refused = upload("models", b"two", name="digits")
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "name_taken"
    assert refused.json()["errors"][0]["pointer"] == "/name"
    assert upload("datasets", b"two", name="digits").status_code == 202
    assert len(worker.stored_keys()) == 2, "the refused bytes are gone"


def test_models_are_listed_newest_first_page_by_page(client, upload):
    made = [upload("models", str(number).encode()).json()["id"] for number in range(5)]
    seen, cursor = [], None
    while True:
        answer = client.get("/v1/models", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen.append([row["id"] for row in answer["data"]])
        assert answer["has_more"] == (answer["next_cursor"] is not None)
        if not answer["has_more"]:
            break
        cursor = answer["next_cursor"]
    assert seen == [made[:2:-1], made[2:0:-1], made[:1]]
    refused = client.get("/v1/models", params={"cursor": "no cursor"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/cursor"


def test_a_deleted_model_is_gone_with_its_bytes_and_its_name_is_free(client, upload, model, worker):
    answer = client.delete("/v1/models/digits")
    assert answer.status_code == 200
    assert answer.json() == {"object": "model", "id": model, "deleted": True}
    assert client.get(f"/v1/models/{model}").status_code == 410
    assert client.get("/v1/models/digits").status_code == 404
    assert client.get("/v1/models").json()["data"] == []
    assert worker.stored_keys() == []
    assert upload("models", b"a bundle", "digits.vae.zip", name="digits").status_code == 202


def test_a_model_deleted_while_it_is_inspected_stays_deleted(client, upload, worker):
    made = upload("models").json()["id"]
    worker.take("inspect")
    assert client.delete(f"/v1/models/{made}").status_code == 200
    assert worker.items("inspect", "leased") == []
    assert client.get(f"/v1/models/{made}").status_code == 410


def test_the_delete_of_a_model_that_a_job_needs_names_the_job(client, model):
    job = client.post("/v1/jobs", json={"model": model, "strategy": {"kind": "prior"}, "rows": 10}).json()["id"]
    refused = client.delete(f"/v1/models/{model}")
    assert refused.status_code == 409
    assert refused.json()["code"] == "in_use"
    assert job in refused.json()["detail"]
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.delete(f"/v1/models/{model}").status_code == 200


def test_a_name_in_a_form_is_held_to_the_rule(upload, worker):
    refused = upload("models", name="a/b")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/name"
    assert worker.stored_keys() == []
