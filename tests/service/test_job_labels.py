"""The labels of a job over HTTP: whose classes they are, what is meant by default, and how refusals help."""

import pytest

from tests.service.steps import vae

FITTED = {"0": 0.6, "1": 0.3, "7": 0.1}


@pytest.fixture
def labelled(upload, worker):
    """A dataset of 100 rows with labels."""
    made = upload("datasets", b"labelled", name="labelled").json()["id"]
    worker.read(labels={"0": 60, "1": 30, "7": 10})
    return made


@pytest.fixture
def conditional(upload, worker):
    made = upload("models", b"conditional", name="conditional").json()["id"]
    worker.inspect(vae(labels={"classes": ["7", "1", "0", "9"]}))
    return made


@pytest.fixture
def fit_of(client, worker, labelled):
    """Makes a fit of the model to the labelled dataset, ready unless told otherwise."""

    def make(model: str, *, by_label: bool, ready: bool = True, **diagnostics) -> str:
        body = {"model": model, "dataset": labelled, "family": {"kind": "gaussian"}, "by_label": by_label}
        made = client.post("/v1/fits", json=body).json()["id"]
        worker.encode()
        if ready:
            worker.fit(**{"labels": FITTED, **diagnostics})
        return made

    return make


@pytest.fixture
def ask(client):
    def submit(model: str, rows: int = 10, **strategy):
        return client.post(
            "/v1/jobs", json={"model": model, "rows": rows, "strategy": {"kind": "aggregate", **strategy}}
        )

    return submit


def refusal(answer) -> tuple[str, str]:
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    return problem["code"], problem["errors"][0]["pointer"]


def test_a_fit_by_label_gives_an_unconditional_model_labels(model, fit_of, ask, worker):
    fit = fit_of(model, by_label=True)
    job = ask(model, fit=fit).json()
    assert job["spec"]["strategy"]["labels"] == "as_fitted"
    assert list(worker.shard().label_counts.items()) == [("0", 6), ("1", 3), ("7", 1)]
    manifest = worker.finalize().manifest
    assert (manifest["strategy"]["labels"], manifest["labels"]) == ("as_fitted", {"0": 6, "1": 3, "7": 1})
    assert ask(model, fit=fit, labels="balanced").status_code == 202
    assert worker.shard().label_counts == {"0": 4, "1": 3, "7": 3}
    worker.finalize()
    assert ask(model, fit=fit, labels={"counts": {"7": 10}}).status_code == 202
    assert list(worker.shard().label_counts.items()) == [("0", 0), ("1", 0), ("7", 10)]


def test_what_a_fit_by_label_does_not_know_is_named(model, fit_of, ask):
    fit = fit_of(model, by_label=True)
    unknown = ask(model, fit=fit, labels={"counts": {"0": 5, "9": 5}})
    assert refusal(unknown) == ("invalid_labels", "/strategy/labels/counts/9")
    assert "The fit does not know the label '9'; it knows 0, 1, 7" in unknown.json()["detail"]
    assert refusal(ask(model, fit=fit, labels={"counts": {"0": 5}})) == ("invalid_labels", "/strategy/labels/counts")


def test_labels_of_a_fit_that_is_still_made_are_settled_when_it_is_ready(client, model, fit_of, ask, worker):
    fit = fit_of(model, by_label=True, ready=False)
    assert refusal(ask(model, fit=fit, labels={"counts": {"0": 5}})) == ("invalid_labels", "/strategy/labels/counts")
    good, bad = ask(model, fit=fit).json(), ask(model, fit=fit, labels={"counts": {"9": 10}}).json()
    assert good["spec"]["strategy"]["labels"] == "as_fitted"
    worker.fit(labels=FITTED)
    failed = client.get(f"/v1/jobs/{bad['id']}").json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "invalid_labels")
    assert worker.shard().label_counts == {"0": 6, "1": 3, "7": 1}


def test_an_unconditional_model_and_a_plain_fit_have_no_labels(model, fit_of, ask, worker):
    fit = fit_of(model, by_label=False)
    refused = ask(model, fit=fit, labels="as_fitted")
    assert refusal(refused) == ("invalid_labels", "/strategy/labels")
    assert "fit by label" in refused.json()["detail"]
    assert ask(model, fit=fit).json()["spec"]["strategy"]["labels"] is None
    assert worker.shard().label_counts is None
    assert worker.finalize().manifest["labels"] is None


def test_a_conditional_model_follows_a_fit_in_its_own_order(conditional, fit_of, ask, worker):
    fit = fit_of(conditional, by_label=False)
    assert ask(conditional, fit=fit).json()["spec"]["strategy"]["labels"] == "balanced"
    assert list(worker.shard().label_counts.items()) == [("7", 3), ("1", 3), ("0", 2), ("9", 2)]
    worker.finalize()
    assert ask(conditional, fit=fit, labels="as_fitted").status_code == 202
    assert list(worker.shard().label_counts.items()) == [("7", 1), ("1", 3), ("0", 6), ("9", 0)]


def test_a_conditional_model_draws_no_label_that_a_fit_by_label_lacks(conditional, fit_of, ask, worker):
    fit = fit_of(conditional, by_label=True)
    assert ask(conditional, fit=fit).json()["spec"]["strategy"]["labels"] == "as_fitted"
    assert list(worker.shard().label_counts.items()) == [("7", 1), ("1", 3), ("0", 6), ("9", 0)]
    lacking = ask(conditional, fit=fit, labels="balanced")
    assert refusal(lacking) == ("invalid_labels", "/strategy/labels")
    assert "no density for the label '9'; it has 0, 1, 7" in lacking.json()["detail"]
    counted = ask(conditional, fit=fit, labels={"counts": {"9": 10}})
    assert refusal(counted) == ("invalid_labels", "/strategy/labels/counts/9")


def test_proportions_that_do_not_exist_are_refused_with_the_way_out(client, conditional, fit_of, ask):
    prior = client.post(
        "/v1/jobs", json={"model": conditional, "rows": 5, "strategy": {"kind": "prior", "labels": "as_fitted"}}
    )
    assert refusal(prior) == ("invalid_labels", "/strategy/labels")
    assert '"balanced"' in prior.json()["detail"]
    fit = fit_of(conditional, by_label=False, labels=None)
    without = ask(conditional, fit=fit, labels="as_fitted")
    assert refusal(without) == ("invalid_labels", "/strategy/labels")
    assert fit in without.json()["detail"]


@pytest.mark.parametrize(
    "strategy", [{"kind": "posterior"}, {"kind": "interpolate", "pairs": [[0, 1], [2, 3]], "steps": 5}]
)
def test_rows_of_a_dataset_keep_their_labels_unless_they_are_counted(conditional, labelled, ask, worker, strategy):
    job = ask(conditional, dataset=labelled, **strategy).json()
    assert job["spec"]["strategy"]["labels"] is None
    worker.encode()
    assert worker.shard().label_counts is None
    worker.finalize()
    assert ask(conditional, dataset=labelled, labels="as_fitted", **strategy).status_code == 202
    assert list(worker.shard().label_counts.items()) == [("7", 1), ("1", 3), ("0", 6), ("9", 0)]
