"""What a job may ask for, what is refused and how, and what the plan says."""

import pytest

from tests.service.steps import vae

PRIOR = {"kind": "prior"}
PATH = {"kind": "interpolate", "dataset": "train", "pairs": [[0, 1]], "steps": 5}


def body(**changes):
    return {"model": "digits", "strategy": PRIOR, "rows": 1000} | changes


@pytest.fixture
def conditional(upload, worker):
    made = upload("models", b"conditional", name="conditional").json()["id"]
    worker.inspect(vae(labels={"classes": ["0", "1", "2"]}))
    return made


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"rows": 0}, 422, "invalid_request", "/rows"),
        ({"rows": 10**11}, 422, "limit_exceeded", "/rows"),
        ({"rows": "many"}, 422, "invalid_request", "/rows"),
        ({"model": "unknown"}, 404, "not_found", "/model"),
        ({"strategy": {"kind": "aggregate", "fit": "fit_unknown"}}, 404, "not_found", "/strategy/fit"),
        ({"strategy": {"kind": "aggregate"}}, 422, "invalid_request", "/strategy/fit"),
        ({"strategy": {"kind": "prior", "temperature": 3}}, 422, "invalid_request", "/strategy/temperature"),
        ({"strategy": {"kind": "magic"}}, 422, "invalid_request", "/strategy"),
        ({"strategy": {"kind": "prior", "labels": "balanced"}}, 422, "invalid_labels", "/strategy/labels"),
        ({"strategy": {"kind": "prior", "labels": "as_fitted"}}, 422, "invalid_labels", "/strategy/labels"),
        ({"strategy": {"kind": "auto", "dataset": "train"}}, 404, "not_found", "/strategy/dataset"),
        ({"strategy": PATH}, 422, "invalid_request", "/rows"),
        ({"strategy": PATH | {"pairs": [[0, -1]]}, "rows": 5}, 422, "invalid_request", "/strategy/pairs/0/1"),
        ({"strategy": PATH | {"pairs": [[0, "1"]]}, "rows": 5}, 422, "invalid_request", "/strategy/pairs/0/1"),
        ({"strategy": PATH | {"steps": 1}, "rows": 1}, 422, "invalid_request", "/strategy/steps"),
        ({"strategy": PATH | {"dataset": "unknown"}, "rows": 5}, 404, "not_found", "/strategy/dataset"),
        ({"output": "sample"}, 422, "model_mismatch", "/output"),
        ({"output": "noise"}, 422, "invalid_request", "/output"),
        ({"format": "webdataset"}, 501, "not_yet", "/format"),
        ({"format": "xls"}, 422, "invalid_request", "/format"),
        ({"seed": -1}, 422, "invalid_request", "/seed"),
        ({"shard_rows": 0}, 422, "invalid_request", "/shard_rows"),
        ({"rows": 10_000_000, "shard_rows": 1}, 422, "limit_exceeded", "/shard_rows"),
        ({"rows": 10**9, "shard_rows": 10**9}, 422, "limit_exceeded", "/shard_rows"),
        ({"execution": {"batch_rows": 100}}, 422, "invalid_request", "/execution/batch_rows"),
        ({"metadata": {str(n): "" for n in range(17)}}, 422, "invalid_request", "/metadata"),
        ({"name": "a/b"}, 422, "invalid_request", "/name"),
        ({"nonsense": 1}, 422, "invalid_request", "/nonsense"),
    ],
)  # fmt: skip
def test_a_bad_request_names_its_field_and_makes_nothing(client, model, change, status, code, pointer):
    for path in ("/v1/jobs", "/v1/jobs/plan"):
        refused = client.post(path, json=body(**change))
        assert refused.status_code == status, refused.text
        problem = refused.json()
        assert (problem["code"], problem["errors"][0]["pointer"]) == (code, pointer)
        assert problem["request_id"] == refused.headers["x-request-id"]
        assert len(problem["detail"]) > 10
    assert client.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("strategy", "code", "pointer"),
    [
        ({"select": {"rows": [0, 100]}}, "invalid_request", "/strategy/select/rows/1"),
        ({"select": {"label": "9"}}, "invalid_labels", "/strategy/select/label"),
        ({"select": {"rows": []}}, "invalid_request", "/strategy/select/rows"),
        ({"dataset": "nothing"}, "not_found", "/strategy/dataset"),
    ],
)
def test_a_bad_selection_is_refused(client, model, dataset, strategy, code, pointer):
    refused = client.post("/v1/jobs", json=body(strategy={"kind": "posterior", "dataset": "train"} | strategy)).json()
    assert (refused["code"], refused["errors"][0]["pointer"]) == (code, pointer)


def test_a_path_names_rows_that_there_are_and_says_how_many_rows_it_makes(client, model, dataset, worker):
    too_far = client.post("/v1/jobs", json=body(strategy=PATH | {"pairs": [[0, 1], [99, 100]]}, rows=10)).json()
    assert (too_far["code"], too_far["errors"][0]["pointer"]) == ("invalid_request", "/strategy/pairs/1/1")
    wrong = client.post("/v1/jobs", json=body(strategy=PATH, rows=6)).json()
    assert "rows must be 5, not 6" in wrong["detail"]
    job = client.post("/v1/jobs", json=body(strategy=PATH | {"path": "spherical"}, rows=5)).json()
    assert job["state_reason"].startswith("waiting for enc_")
    assert job["spec"]["strategy"]["dataset"] == dataset
    worker.encode()
    asked = worker.shard()
    assert asked.encoding is not None
    assert (asked.rows, asked.request.strategy.path) == (5, "spherical")
    assert worker.finalize().manifest["strategy"]["pairs"] == [[0, 1]]


def test_a_path_of_a_dataset_that_is_still_read_fails_when_its_rows_are_too_few(client, model, upload, worker):
    upload("datasets", b"few rows", name="few")
    job = client.post("/v1/jobs", json=body(strategy=PATH | {"dataset": "few", "pairs": [[0, 50]]}, rows=5)).json()
    worker.read(rows=50)
    worker.encode()
    failed = client.get(f"/v1/jobs/{job['id']}").json()
    assert (failed["state"], failed["error"]["errors"][0]["pointer"]) == ("failed", "/strategy/pairs/0/1")


def test_rows_are_drawn_where_the_likelihood_says_how(client, upload, worker):
    upload("models", b"not read yet", name="late")
    waiting = client.post("/v1/jobs", json=body(model="late", output="sample"))
    assert waiting.status_code == 202
    worker.inspect(vae(likelihood={"kind": "point"}))
    failed = client.get(waiting.headers["Location"]).json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "model_mismatch")
    assert failed["error"]["errors"][0]["pointer"] == "/output"
    upload("models", b"drawn", name="drawn")
    worker.inspect(vae(likelihood={"kind": "bernoulli"}))
    assert client.post("/v1/jobs", json=body(model="drawn", output="sample")).status_code == 202
    assert worker.shard().request.output == "sample"
    assert worker.finalize().manifest["output"] == "sample"
    upload("models", b"table", name="table")
    table = {"kind": "table", "columns": [{"name": "age", "kind": "integer"}]}
    worker.inspect(vae(rows=table, likelihood={"kind": "bernoulli"}))
    refused = client.post("/v1/jobs", json=body(model="table", output="sample")).json()
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("model_mismatch", "/output")
    assert "'age' of kind integer" in refused["detail"]


def test_a_fit_of_another_model_is_refused(client, fit, upload, worker):
    upload("models", b"another", name="another")
    worker.inspect()
    refused = client.post("/v1/jobs", json=body(model="another", strategy={"kind": "aggregate", "fit": fit}))
    assert refused.status_code == 422
    assert refused.json()["code"] == "model_mismatch"
    assert refused.json()["errors"][0]["pointer"] == "/strategy/fit"


def test_a_deleted_or_failed_fit_is_not_ready(client, fit):
    client.delete(f"/v1/fits/{fit}")
    refused = client.post("/v1/jobs", json=body(strategy={"kind": "aggregate", "fit": fit}))
    assert (refused.status_code, refused.json()["code"]) == (409, "not_ready")


def test_a_model_without_a_prior_has_nothing_to_draw_from(client, upload, worker):
    upload("models", name="digits")
    worker.inspect(vae(prior={"kind": "none"}))
    refused = client.post("/v1/jobs", json=body()).json()
    assert refused["code"] == "model_mismatch"
    assert "fit" in refused["detail"]


def test_labels_of_a_conditional_model(client, conditional, worker):
    def labelled(labels, rows=10):
        strategy = PRIOR | ({"labels": labels} if labels else {})
        return client.post("/v1/jobs", json=body(model="conditional", strategy=strategy, rows=rows))

    assert labelled(None).status_code == 202
    assert worker.shard().label_counts == {"0": 4, "1": 3, "2": 3}
    worker.finalize()
    assert labelled({"counts": {"2": 7, "0": 3}}).status_code == 202
    assert list(worker.shard().label_counts.items()) == [("0", 3), ("1", 0), ("2", 7)]
    wrong = labelled({"counts": {"0": 3, "1": 3}}).json()
    assert (wrong["code"], wrong["errors"][0]["pointer"]) == ("invalid_labels", "/strategy/labels/counts")
    assert "6" in wrong["detail"]
    unknown = labelled({"counts": {"9": 10}}).json()
    assert (unknown["code"], unknown["errors"][0]["pointer"]) == ("invalid_labels", "/strategy/labels/counts/9")


def test_a_conditional_model_needs_labels_to_encode(client, conditional, dataset, upload, worker):
    fit = {"model": "conditional", "dataset": "train", "family": {"kind": "gaussian"}}
    assert client.post("/v1/fits", json=fit).json()["code"] == "invalid_labels"
    upload("datasets", b"labelled", name="labelled")
    worker.read(labels={"0": 50, "7": 50})
    refused = client.post("/v1/fits", json=fit | {"dataset": "labelled"}).json()
    assert refused["code"] == "invalid_labels"
    assert "7" in refused["detail"]


def test_the_plan_says_what_would_be_made_and_makes_nothing(client, model, worker):
    plan = client.post("/v1/jobs/plan", json=body(rows=1_000_000, include_latents=True)).json()
    assert plan["spec"]["shard_rows"] == plan["shard_rows"] == 299_008, "30 s at 10,000 rows/s, in whole blocks"
    assert plan["shards"] == 4
    assert plan["estimated_bytes"] == 1_000_000 * (64 + 8)
    assert plan["estimated_seconds"] == 100
    assert plan["execution"]["device"] == "cpu"
    assert client.get("/v1/jobs").json()["data"] == []
    assert worker.items("shard") == []


def test_the_plan_of_what_is_not_ready_says_what_it_waits_for(client, upload):
    made = upload("models", name="digits").json()["id"]
    plan = client.post("/v1/jobs/plan", json=body()).json()
    assert made in plan["state_reason"]
    assert plan["shards"] is None


def test_shards_stay_below_64_mib_and_the_batch_grid_is_kept(client, upload, worker):
    upload("models", name="digits")
    worker.inspect(vae(rows={"kind": "tensor", "shape": [1024]}))
    plan = client.post("/v1/jobs/plan", json=body(rows=10**6, execution={"batch_rows": 192})).json()
    assert plan["execution"]["batch_rows"] == 192
    assert plan["shard_rows"] == 15_360
    assert plan["shard_rows"] % 3072 == 0
    assert plan["shard_rows"] * 4096 <= 64 * 2**20


def test_very_many_rows_make_larger_shards_instead_of_too_many(client, upload, worker):
    upload("models", name="digits")
    worker.inspect(vae(rows={"kind": "tensor", "shape": [4096]}))
    plan = client.post("/v1/jobs/plan", json=body(rows=10**9)).json()
    assert plan["shards"] <= 100_000


def test_a_table_is_parquet_unless_told_otherwise(client, upload, worker):
    upload("models", name="digits")
    worker.inspect(vae(rows={"kind": "table", "columns": [{"name": "age", "kind": "integer"}]}))
    assert client.post("/v1/jobs/plan", json=body()).json()["spec"]["format"] == "parquet"
    assert client.post("/v1/jobs/plan", json=body(format="npz")).json()["spec"]["format"] == "npz"


def test_jobs_are_listed_by_state_and_model(client, upload, model, worker):
    one, two = (client.post("/v1/jobs", json=body()).json() for _ in range(2))
    client.post(f"/v1/jobs/{one['id']}/cancel")
    listed = client.get("/v1/jobs").json()["data"]
    assert [job["id"] for job in listed] == [two["id"], one["id"]]
    assert [job["id"] for job in client.get("/v1/jobs?state=cancelled").json()["data"]] == [one["id"]]
    assert len(client.get("/v1/jobs?model=digits").json()["data"]) == 2
    upload("models", b"other", name="other")
    assert client.get("/v1/jobs?model=other").json()["data"] == []
    assert client.get("/v1/jobs?model=nothing").status_code == 404
    assert client.get("/v1/jobs?state=done").status_code == 422
