"""Graphs as a `Vae`: the same protocol as torch's networks, and what bundles hold for it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from latentmill.errors import InvalidBundle
from tests.unit.onnx.made_graphs import (
    MANIFEST,
    ROW,
    WEIGHT,
    WITH_ENCODER,
    decoder,
    encoder,
    graph_of,
    node,
    value,
    write,
)
from workers.models import load_vae, open_bundle
from workers.models.inspection import inspect_bundle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.vae.zip"


def test_a_decoder_decodes(path):
    vae = load_vae(open_bundle(write(path)))
    z = torch.randn(5, 2)
    torch.testing.assert_close(vae.decode(z), z @ torch.from_numpy(WEIGHT))
    assert vae.size_bytes == len(decoder().SerializeToString())
    with pytest.raises(InvalidBundle, match="no encoder"):
        vae.encode(torch.zeros(1, ROW))


def test_an_encoder_gives_mean_and_std(path):
    vae = load_vae(open_bundle(write(path, WITH_ENCODER, encoder__onnx=encoder())))
    x = torch.randn(4, ROW)
    mean, std = vae.encode(x)
    torch.testing.assert_close(mean, x @ torch.from_numpy(WEIGHT.T.copy()))
    torch.testing.assert_close(std, torch.exp(-0.5 * mean))


@pytest.mark.parametrize("encoding", ["one_hot", "index"])
def test_labels_reach_both_graphs(path, encoding):
    embed = np.arange(9, dtype=np.float32).reshape(3, 3)
    look_up = node("MatMul", "y E", "e") if encoding == "one_hot" else node("Gather", "E y", "e")
    y = value("y", "N", 3) if encoding == "one_hot" else value("y", "N", kind=7)
    nodes = [node("MatMul", "z W", "h"), look_up, node("Add", "h e", "x")]
    graph = graph_of(nodes, [value("z", "N", 2), y], [value("x", "N", ROW)], {"W": WEIGHT, "E": embed})
    manifest = {**MANIFEST, "labels": {"classes": ["a", "b", "c"], "encoding": encoding}}
    vae = load_vae(open_bundle(write(path, manifest, graph)))
    decoded = vae.decode(torch.zeros(3, 2), torch.tensor([2, 0, 1]))
    assert decoded.tolist() == [[6, 7, 8], [0, 1, 2], [3, 4, 5]]


def test_a_learned_std_is_its_absolute_value_and_extra_outputs_are_ignored(path):
    nodes = [node("MatMul", "z W", "x"), node("Neg", "x", "std"), node("Exp", "x", "more")]
    outputs = [value(name, "N", ROW) for name in ("more", "std", "x")]
    graph = graph_of(nodes, [value("z", "N", 2)], outputs, {"W": WEIGHT})
    manifest = {**MANIFEST, "likelihood": {"kind": "gaussian", "std": "learned"}}
    vae = load_vae(open_bundle(write(path, manifest, graph)))
    mean, std = vae.decode_with_std(torch.ones(2, 2))
    assert std is not None
    assert torch.equal(std, mean.abs())


def test_it_is_inspected_and_measured(path):
    found = inspect_bundle(write(path, WITH_ENCODER, encoder__onnx=encoder()), devices=["cpu"], threads=1)
    execution = found.executions["cpu"].execution
    assert execution.engine == "onnx"
    assert "onnxruntime" in execution.versions
    assert execution.threads == 1


@pytest.mark.parametrize(
    ("manifest", "members", "says"),
    [
        (MANIFEST, {"weights__safetensors": save({"w": torch.ones(1)})}, "both weights.safetensors and decoder.onnx"),
        (MANIFEST, {"decoder__onnx": None, "encoder__onnx": b""}, "no decoder.onnx"),
        (MANIFEST, {"decoder__onnx": None}, "no weights.safetensors, and no decoder.onnx"),
        (MANIFEST, {"decoder__onnx": None, "weights__safetensors": save({"w": torch.ones(1)})}, "engine is onnx"),
        ({**MANIFEST, "engine": "torch", "architecture": {"name": "mlp"}}, {}, "engine is torch"),
        (MANIFEST, {"encoder__onnx": encoder()}, "encoder.onnx go together"),
        (WITH_ENCODER, {}, "encoder.onnx go together"),
        (MANIFEST, {"onnx__data": b"1"}, "not part of a bundle"),
    ],
)
def test_a_bundle_holds_what_its_engine_needs_and_nothing_else(path, manifest, members, says):
    with pytest.raises(InvalidBundle, match=says):
        open_bundle(write(path, manifest, **members))
