"""The command line: help for every verb, errors as one sentence, a job from request to verified files."""

import ast
import json
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from latentmill.commands.export_guide import HOW
from latentmill.errors import InvalidRequest, NotAuthenticated, NotInstalled, NotYet
from latentmill.processes import require
from latentmill.resources.dataset_folder import verify_dataset

VERBS = [
    "up",
    "demo",
    *(f"{noun} {verb}" for noun in ("models", "datasets") for verb in ("add", "list", "show", "delete")),
    *(f"fits {verb}" for verb in ("list", "show", "delete")),
    "fit",
    "report",
    *(f"reports {verb}" for verb in ("list", "show", "delete")),
    "preview",
    "generate",
    *(f"jobs {verb}" for verb in ("list", "show", "watch", "cancel", "retry", "delete")),
    "download",
    "verify",
    "limits",
    "export",
    *(f"export {verb}" for verb in ("pythae", "diffusers", "onnx")),
    "api",
    "worker",
    "beat",
    "migrate",
    *(f"keys {verb}" for verb in ("create", "list", "rotate", "revoke")),
]
MODEL = {"object": "model", "id": "mdl_1", "name": "m", "state": "ready", "error": None, "warnings": ["odd head"]}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run, verb) -> None:
    result = run(*verb.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_no_service_is_one_line_and_status_1(run) -> None:
    result = run("models", "list")
    assert result.exit_code == 1
    assert re.fullmatch(r"error: no service found: start one with `latentmill up`.*\n", result.stderr)


def test_a_missing_key_is_said_with_the_way_out(run, peer, replies, monkeypatch) -> None:
    monkeypatch.setenv("LATENTMILL_URL", peer.url)
    peer.first("GET /v1/models", replies.problem(NotAuthenticated()))
    result = run("models", "list")
    assert result.exit_code == 1
    assert "set LATENTMILL_API_KEY" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["generate", "m", "--rows", "3"],
        ["generate", "m", "--strategy", "prior", "--rows", "0"],
        ["generate", "m", "--strategy", "aggregate", "--rows", "3"],
        ["generate", "m", "--strategy", "prior", "--rows", "3", "--fit", "f"],
        ["generate", "m", "--strategy", "prior", "--rows", "3", "--labels", "fair"],
        ["generate", "m", "--strategy", "prior", "--rows", "3", "--labels", "a=1,a=2"],
        ["generate", "m", "--strategy", "prior", "--rows", "3", "--labels", "a=1,b=-2"],
        ["models", "add", "there-is-no-such-file"],
        ["fit", "m", "d", "--family", "cauchy"],
        ["worker", "elsewhere"],
        ["export", "pythae", "there-is-no-such-folder", "m.vae.zip"],
        ["export", "pythae", ".", "m.vae.zip", "--rows", "{image}"],
        ["export", "onnx", "m.vae.zip", "--decoder", __file__, "--rows", "{}", "--latent", "4 by 4"],
    ],
)
def test_misuse_is_status_2(run, words) -> None:
    assert run(*words).exit_code == 2


def test_a_problem_is_shown_with_its_fields(run_on_peer, peer, replies) -> None:
    refused = InvalidRequest("the request is not valid", pointer="/rows")
    refused.errors[0].message = "at most 1,000 rows"
    peer.first("POST /v1/jobs", replies.problem(refused))
    result = run_on_peer("generate", "m", "--strategy", "prior", "--rows", "2000")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: the request is not valid",
        "  /rows: at most 1,000 rows",
        "  request req_1",
    ]
    assert "Traceback" not in result.output


def test_what_does_not_exist_yet_says_so(run_on_peer, peer, replies) -> None:
    peer.first("POST /v1/jobs", replies.problem(NotYet()))
    result = run_on_peer("generate", "m", "--strategy", "prior", "--rows", "3")
    assert result.exit_code == 1
    assert "not of this release" in result.stderr


def test_models_are_added_shown_and_listed(run_on_peer, peer, tmp_path) -> None:
    (tmp_path / "m.vae.zip").write_bytes(b"zip")
    peer.documents |= {
        "/v1/models": {**MODEL, "state": "inspecting"},
        "/v1/models/mdl_1": {**MODEL, "manifest": {"rows": {"kind": "image"}, "name": "[red]"}},
    }
    result = run_on_peer("models", "add", tmp_path / "m.vae.zip", "--name", "m")
    assert result.exit_code == 0
    assert "warning: odd head" in result.stderr
    assert re.search(r"^bundle +\[red\]$", result.stdout, re.MULTILINE)
    shown = run_on_peer("models", "show", "mdl_1", "--json")
    assert json.loads(shown.stdout) == peer.documents["/v1/models/mdl_1"]
    peer.documents["/v1/models"] = {"data": [peer.documents["/v1/models/mdl_1"]], "next_cursor": None}
    listed = run_on_peer("models", "list")
    assert re.search(r"mdl_1 +m +ready +image", listed.stdout)
    assert json.loads(run_on_peer("models", "list", "--json").stdout)[0]["id"] == "mdl_1"


def test_a_table_is_added_by_a_model_and_its_columns_are_read_as_words(run_on_peer, peer, tmp_path) -> None:
    (tmp_path / "people.csv").write_text("age,city\n31,Ulm\n")
    typed = [
        {"name": "age", "kind": "integer", "categories": None, "missing": True},
        {"name": "city", "kind": "category", "categories": ["Bonn", "Ulm"], "missing": False},
    ]
    dataset = {"object": "dataset", "id": "dat_1", "name": None, "state": "ready", "error": None, "warnings": []}
    peer.documents["/v1/datasets"] = dataset | {"state": "reading"}
    peer.documents["/v1/datasets/dat_1"] = dataset | {"columns": typed}
    result = run_on_peer("datasets", "add", str(tmp_path / "people.csv"), "--model", "people")
    assert result.exit_code == 0, result.output
    assert "age (integer, some missing), city (2 categories)" in result.stdout
    assert b'name="model"\r\n\r\npeople' in peer.requests[0].body
    shown = run_on_peer("datasets", "show", "dat_1", "--json")
    assert json.loads(shown.stdout)["columns"] == typed


def test_a_fit_says_what_it_gains(run_on_peer, peer) -> None:
    gain = {"value": 1.2345, "standard_error": 0.05}
    fit = {**MODEL, "id": "fit_1", "family": {"kind": "mixture"}, "diagnostics": {"gain": gain}, "warnings": []}
    peer.documents["/v1/fits"] = fit
    result = run_on_peer("fit", "m", "d", "--family", "mixture", "--components", "10", "--by-label")
    assert result.exit_code == 0
    assert "gain over the prior: 1.234 ± 0.05 nats per held-out row (draw from this fit)" in result.stdout
    assert "generate m --strategy aggregate --fit m" in result.stdout
    asked = json.loads(peer.requests[0].body)
    assert asked == {"model": "m", "dataset": "d", "family": {"kind": "mixture", "components": 10}, "by_label": True}


def test_the_options_of_each_family_reach_the_service(run_on_peer, peer, replies) -> None:
    for words, family in (
        (["--family", "flow", "--transforms", 6, "--hidden", 32, "--epochs", "auto"],
         {"kind": "flow", "transforms": 6, "hidden": 32, "epochs": "auto"}),
        (["--family", "flow", "--epochs", 20], {"kind": "flow", "epochs": 20}),
        (["--family", "empirical", "--components", "all", "--bandwidth", 1.5],
         {"kind": "empirical", "components": "all", "bandwidth": 1.5}),
    ):  # fmt: skip
        peer.first("POST /v1/fits", replies.problem(InvalidRequest("seen enough")))
        run_on_peer("fit", "m", "d", *words)
        assert json.loads(peer.requests[-1].body)["family"] == family
    refused = run_on_peer("fit", "m", "d", "--family", "flow", "--epochs", "many")
    assert refused.exit_code == 2
    assert "no number, nor auto" in refused.stderr


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("balanced", "balanced"),
        ("as_fitted", "as_fitted"),
        ("0=100, 1=300", {"counts": {"0": 100, "1": 300}}),
        ("a=b=2", {"counts": {"a=b": 2}}),
    ],
)
def test_labels_are_words_or_counts(run_on_peer, peer, replies, text: str, labels) -> None:
    peer.first("POST /v1/jobs", replies.problem(InvalidRequest("seen enough")))
    run_on_peer("generate", "m", "--strategy", "prior", "--rows", "400", "--labels", text, "--output", "sample")
    asked = json.loads(peer.requests[0].body)
    assert (asked["strategy"], asked["output"]) == ({"kind": "prior", "labels": labels}, "sample")


def test_generate_ends_with_verified_files(run_on_peer, peer, replies, tmp_path) -> None:
    peer.add_dataset()
    peer.first("POST /v1/jobs", replies.json(replies.job("job_1", "queued"), 202))
    words = ["--strategy", "aggregate", "--fit", "f", "--rows", "30", "--seed", "7", "--out", tmp_path / "out"]
    result = run_on_peer("generate", "m", *words)
    assert result.exit_code == 0, result.output
    assert "30 rows in 3 files, all verified (job job_1, seed 7)" in result.stderr
    assert verify_dataset(tmp_path / "out").rows == 30
    asked = json.loads(peer.asked("POST /v1/jobs")[0].body)
    assert asked["strategy"] == {"kind": "aggregate", "fit": "f"}
    assert run_on_peer("verify", tmp_path / "out").exit_code == 0
    (tmp_path / "out" / "data-00001-of-00003.npz").write_bytes(b"")
    broken = run_on_peer("verify", tmp_path / "out")
    assert broken.exit_code == 1
    assert "data-00001-of-00003.npz: differs from its checksum" in broken.stderr
    assert run_on_peer("download", "job_1", tmp_path / "out").exit_code == 0
    assert run_on_peer("verify", tmp_path / "out").exit_code == 0


def test_a_failed_job_is_an_error(run_on_peer, peer, replies, tmp_path) -> None:
    problem = InvalidRequest("the decoder gave NaN").problem().model_dump()
    peer.documents["/v1/jobs"] = replies.job("job_1", "failed", error=problem)
    result = run_on_peer("generate", "m", "--strategy", "prior", "--rows", "3", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "error: the decoder gave NaN" in result.stderr


def test_ctrl_c_says_how_to_go_on(run_on_peer, peer, replies, tmp_path) -> None:
    peer.documents |= {"/v1/jobs": replies.job("job_1", "running"), "/v1/jobs/job_1": replies.job("job_1", "running")}
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from latentmill.cli import main; main()"]
    arguments = ["generate", "m", "--strategy", "prior", "--rows", "30", "--out", str(out)]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not peer.asked("GET /v1/jobs/job_1") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "latentmill jobs watch job_1" in said
    assert f"latentmill download job_1 {out}" in said
    assert "Traceback" not in said


def test_jobs_are_cancelled_and_retried(run_on_peer, peer, replies) -> None:
    peer.documents |= {
        "/v1/jobs/job_1": replies.job("job_1", "running"),
        "/v1/jobs/job_1/cancel": replies.job("job_1", "cancelling"),
        "/v1/jobs/job_1/retry": replies.job("job_1", "queued"),
    }
    assert "job_1 is cancelling" in run_on_peer("jobs", "cancel", "job_1").stderr
    assert "job_1 is queued" in run_on_peer("jobs", "retry", "job_1").stderr
    assert "of 30 rows" in run_on_peer("jobs", "show", "job_1").stdout


def test_a_job_that_did_not_succeed_is_not_downloaded_without_a_word(run_on_peer, peer, replies, tmp_path) -> None:
    peer.documents["/v1/jobs/job_1"] = replies.job("job_1", "cancelled")
    result = run_on_peer("download", "job_1", tmp_path / "out")
    assert result.exit_code == 1
    assert "latentmill jobs retry job_1" in result.stderr
    assert "--partial" in result.stderr
    assert not (tmp_path / "out").exists()


def test_fits_are_listed_and_shown(run_on_peer, peer) -> None:
    diagnostics = {"gain": {"value": 0.1, "standard_error": 0.2}, "per_dimension": [{"mean": 0.5}]}
    fit = {**MODEL, "id": "fit_1", "family": {"kind": "gaussian"}, "diagnostics": diagnostics, "warnings": []}
    peer.documents |= {"/v1/fits": {"data": [fit], "next_cursor": None}, "/v1/fits/fit_1": fit}
    assert re.search(r"fit_1 +m +ready +gaussian +0\.1", run_on_peer("fits", "list").stdout)
    shown = run_on_peer("fits", "show", "fit_1").stdout
    assert re.search(r"^gain +0\.1 ± 0\.2$", shown, re.MULTILINE)
    assert "per_dimension" not in shown
    peer.documents["/v1/fits"] = fit
    assert "no clear gain" in run_on_peer("fit", "m", "d", "--family", "gaussian").stdout
    peer.documents["/v1/fits"] = {**fit, "warnings": ["odd head"]}
    assert "mind the warnings" in run_on_peer("fit", "m", "d", "--family", "gaussian").stdout


def test_the_exporters_example_is_python(run) -> None:
    assert run("export", "--help").stdout.startswith(HOW)
    assert run("export").stdout.startswith(HOW)
    example = textwrap.dedent(re.search(r"(    import torch\n.*?\n    \)\n)", HOW, re.DOTALL)[1])
    called = [
        node.func.id
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "export_vae" in called
    assert max(map(len, HOW.splitlines())) <= 80


def test_a_missing_extra_is_explained() -> None:
    with pytest.raises(
        NotInstalled, match=r"`latentmill api` needs .*pip install 'latentmill\[service\]' \(missing: no_such_package\)"
    ):
        require("api", ("json", "no_such_package", "no_such_package"), "service")
