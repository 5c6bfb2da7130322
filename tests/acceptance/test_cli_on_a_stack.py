"""The command line against the real thing: from a bundle and rows to verified files."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from latentmill import cli
from latentmill.client import Client
from latentmill.stack import Stack

AUTO = ("--strategy", "auto", "--dataset")
BUNDLE = Path(__file__).resolve().parents[2] / "latentmill" / "demo" / "digits.vae.zip"


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    """Run a command in the surroundings of the stack's user; what it printed."""
    for name in ("LATENTMILL_URL", "LATENTMILL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LATENTMILL_DATA_DIR", str(stack.data_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*words: object, status: int = 0) -> str:
        result = CliRunner().invoke(cli.app, [str(word) for word in words])
        assert result.exit_code == status, result.output
        return result.output

    return run_command


def test_from_a_bundle_to_verified_files(run, tmp_path: Path) -> None:
    images = np.random.default_rng(5).integers(0, 17, (300, 8, 8)).astype(np.float32) / 16
    np.save(tmp_path / "rows.npy", images)
    model = json.loads(run("models", "add", BUNDLE, "--name", "cli", "--json"))
    assert model["state"] == "ready"
    assert json.loads(run("models", "show", "cli", "--json"))["id"] == model["id"]
    dataset = json.loads(run("datasets", "add", tmp_path / "rows.npy", "--name", "cli-rows", "--json"))
    assert (dataset["state"], dataset["rows"]) == ("ready", 300)
    assert "gain over the prior" in run("fit", "cli", "cli-rows", "--family", "gaussian", "--name", "cli-fit")

    words = ["--strategy", "aggregate", "--fit", "cli-fit", "--rows", "3000", "--shard-rows", "1024", "--seed", "3"]
    said = run("generate", "cli", *words, "--name", "cli-job", "--out", tmp_path / "out")
    assert "3,000 rows in 3 files, all verified" in said
    shard = next((tmp_path / "out").glob("data-00001-*"))
    content = shard.read_bytes()
    shard.with_name(f"{shard.name}.part").write_bytes(content[: len(content) // 2])
    shard.unlink()
    assert "1 of 3 files are not right" in run("verify", tmp_path / "out", status=1)
    run("download", "cli-job", tmp_path / "out")
    run("verify", tmp_path / "out")
    assert shard.read_bytes() == content

    assert "cli-job" in run("jobs", "list", "--state", "succeeded")
    assert "can be retried" in run("jobs", "retry", "cli-job", status=1)
    run("jobs", "delete", "cli-job")
    assert "error: " in run("jobs", "show", "cli-job", status=1)


def test_a_report_and_rows_as_it_recommends(run, stack: Stack, tmp_path: Path) -> None:
    images = np.random.default_rng(6).integers(0, 17, (300, 8, 8)).astype(np.float32) / 16
    with Client(stack.url, stack.api_key) as client:
        model = client.models.add(BUNDLE, name="reported").wait()
        dataset = client.datasets.add(images, name="reported-rows").wait()
        assert "no report" in run("generate", model.id, *AUTO, dataset.id, "--rows", "9", status=1).lower()
        made = client.reports.create(
            model, dataset, candidates=[{"kind": "gaussian"}], rows=60, holdout=0.5, name="reported-once"
        ).wait()
    assert [candidate["name"] for candidate in made.data["candidates"]] == ["prior", "gaussian"]
    chosen = made.recommendation["strategy"]
    shown = run("reports", "show", "reported-once", "--out", tmp_path / "report.html")
    assert f"next: latentmill generate {model.id} --strategy {chosen['kind']}" in shown
    assert (tmp_path / "report.html").read_text().lower().startswith("<!doctype html>")
    run("generate", model.id, *AUTO, dataset.id, "--rows", "9", "--out", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["report"], manifest["strategy"]["kind"]) == (made.id, chosen["kind"])


def test_labels_and_sampled_rows(run, tmp_path: Path) -> None:
    """A fit by label, counts on the command line, and a row's label in the file."""
    random = np.random.default_rng(6)
    np.save(tmp_path / "rows.npy", random.integers(0, 17, (400, 8, 8)).astype(np.float32) / 16)
    np.save(tmp_path / "labels.npy", np.repeat(["day", "night"], [300, 100]))
    run("models", "add", BUNDLE, "--name", "cli-labels")
    run("datasets", "add", tmp_path / "rows.npy", "--labels", tmp_path / "labels.npy", "--name", "cli-labelled")
    run("fit", "cli-labels", "cli-labelled", "--family", "gaussian", "--by-label", "--name", "cli-by-label")
    words = ["generate", "cli-labels", "--strategy", "aggregate", "--fit", "cli-by-label", "--rows", "40"]
    for labels, night in (("night=31,day=9", 31), ("as_fitted", 10), ("balanced", 20)):
        run(*words, "--labels", labels, "--output", "sample", "--out", tmp_path / labels)
        with np.load(tmp_path / labels / "data-00000-of-00001.npz") as shard:
            assert (shard["labels"] == "night").sum() == night
            assert set(np.unique(shard["rows"])) == {0, 255}
    assert "noon" in run(*words, "--labels", "noon=40", status=1)
