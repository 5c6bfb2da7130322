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
    recurrent,
    value,
    write,
)
from workers.models import load_vae, open_bundle
from workers.models.inspection import inspect_bundle
from workers.models.rows_alone import check_rows_alone


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


def test_a_graph_of_an_old_opset_whose_shapes_are_computed_runs(path):
    """As converters of the time wrote them: axes and cuts in attributes, the batch read from the input."""
    nodes = [
        node("MatMul", "z W", "h"),
        node("Shape", "z", "shape"),
        node("Slice", "shape", "rows", axes=[0], starts=[0], ends=[1]),
        node("Squeeze", "rows", "n", axes=[0]),
        node("Unsqueeze", "n", "n1", axes=[0]),
        node("Concat", "n1 tail", "wanted", axis=0),
        node("Reshape", "h wanted", "picture"),
        node("Upsample", "picture twice", "x", mode="nearest"),
    ]
    weights = {"W": WEIGHT, "tail": np.array([1, 1, ROW]), "twice": np.array([1, 1, 1, 2], np.float32)}
    graph = graph_of(nodes, [value("z", "N", 2)], [value("x", "N", 1, 1, 2 * ROW)], weights, opset=9)
    manifest = {**MANIFEST, "rows": {"kind": "image", "shape": [1, 1, 2 * ROW]}}
    vae = load_vae(open_bundle(write(path, manifest, graph)))
    check_rows_alone(vae)
    assert vae.decode(torch.ones(2, 2)).tolist() == [[[[3.0, 3.0, 5.0, 5.0, 7.0, 7.0]]]] * 2


def test_a_recurrent_graph_whose_states_follow_the_batch_runs(path):
    manifest = {**MANIFEST, "rows": {"kind": "series", "steps": 5, "features": ["a", "b", "c"]}}
    vae = load_vae(open_bundle(write(path, manifest, recurrent(5))))
    check_rows_alone(vae)
    assert vae.decode(torch.zeros(4, 2)).shape == (4, 5, ROW)


def test_categories_stand_on_the_last_axis(path):
    nodes = [node("MatMul", "z W", "h"), node("Reshape", "h s", "k"), node("Softmax", "k", "x", axis=-1)]
    weights = {"W": np.ones((2, 8), np.float32), "s": np.array([-1, 2, 4])}
    graph = graph_of(nodes, [value("z", "N", 2)], [value("x", "N", 2, 4)], weights)
    manifest = {**MANIFEST, "rows": {"kind": "tensor", "shape": [2]}, "likelihood": {"kind": "categorical"}}
    vae = load_vae(open_bundle(write(path, manifest, graph)))
    assert vae.decode_with_std(torch.ones(3, 2))[0].shape == (3, 2, 4)
    assert vae.decode(torch.ones(1, 2)).tolist() == [[1.5, 1.5]]  # the mean of 0, 1, 2 and 3
