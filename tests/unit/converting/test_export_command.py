"""`latentmill export`: a bundle without Python, said in words or as JSON; what is wrong is said in a sentence."""

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from latentmill.cli import app
from tests.unit.exporting.keras_graphs import LATENT, SIZE, conv_decoder, conv_encoder
from workers.models import open_bundle

ROWS = json.dumps({"kind": "image", "shape": [SIZE, SIZE, 1], "layout": "HWC"})


@pytest.fixture
def export(tmp_path):
    """`latentmill export onnx` on two files of Keras'."""
    files = ["--encoder", str(conv_encoder(tmp_path / "e.onnx")), "--decoder", str(conv_decoder(tmp_path / "d.onnx"))]
    out = tmp_path / "keras.vae.zip"

    def run(*options):
        words = ["export", "onnx", str(out), *files, "--rows", ROWS, "--latent", str(LATENT), *options]
        return CliRunner().invoke(app, words), out

    return run


def test_two_graphs_become_a_bundle(export):
    result, out = export("--likelihood", '{"kind": "bernoulli"}', "--prior", "none")
    assert result.exit_code == 0, result.output
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.engine, manifest.prior.kind) == ("keras", "onnx", "none")
    lines = result.stdout.splitlines()
    assert f'rows                {{"kind": "image", "shape": [{SIZE}, {SIZE}, 1], "layout": "HWC"' in result.stdout
    assert "null" not in result.stdout
    assert lines[-1] == f"next: latentmill models add {out} --name keras"
    assert any(line.startswith("note: Engine onnx") for line in lines)


def test_examples_and_names_are_taken_and_json_has_it_all(export, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE), np.uint8))
    names = [name.name for name in onnx.load(tmp_path / "e.onnx").graph.output]
    said = ["--output", f"mean={names[0]}", "--output", f"scale={names[1]}", "--input", "x=input_1"]
    result, out = export("--json", "--examples", str(tmp_path / "x.npy"), *said, "--name", "other")
    printed = json.loads(result.stdout)
    assert printed["manifest"]["name"] == "other"
    assert printed["path"] == str(out)
    assert any("mean row" in note for note in printed["notes"])


def unboxed(text):
    """What is said in a box, without the box."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--output", "mean"], 2, "each is NAME=ITS_NAME"),
        (["--output", "mean=a", "--output", "mean=b"], 2, "each NAME once"),
        (["--output", "mean=nothing"], 1, "nothing"),
        (["--rows", "{"], 2, "is not JSON"),
        (["--latent", "7"], 1, "error: "),
    ],
)
def test_what_is_wrong_is_one_sentence(options, status, says, export):
    result, out = export(*options)
    assert result.exit_code == status
    assert says in unboxed(result.stderr)
    assert "Traceback" not in result.output
    assert not out.exists()


def test_examples_are_one_array_and_no_pickle(export, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    for name, says in (("x.npy", "holds no array"), ("x.npz", "holds several arrays")):
        result, _ = export("--examples", str(tmp_path / name))
        assert result.exit_code == 2
        assert says in unboxed(result.stderr)
