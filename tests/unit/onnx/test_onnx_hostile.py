"""Graphs that strangers could upload: each is refused with a sentence that names what is wrong, and the way out."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from latentmill.errors import InvalidBundle
from tests.unit.onnx.made_graphs import (
    LATENT,
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
from workers.models import BundleLimits, load_vae, open_bundle
from workers.models.onnx.operators import ALLOWED
from workers.models.rows_alone import check_rows_alone

WEIGHTS = {"W": WEIGHT}
Z, X = value("z", "N", LATENT), value("x", "N", ROW)


@pytest.fixture
def refused(tmp_path):
    """The words with which a bundle of these is refused, before or when it is first run."""

    def refuse(graph=None, manifest=MANIFEST, limits=None, **members) -> str:
        path = write(tmp_path / "small.vae.zip", manifest, graph, **members)
        with pytest.raises(InvalidBundle) as caught:
            check_rows_alone(load_vae(open_bundle(path, **({"limits": limits} if limits else {}))))
        caught.value.problem().model_dump_json()  # it can be stored and sent
        return caught.value.detail

    return refuse


def says(words: str, *parts: str) -> None:
    assert all(part in words for part in parts), words


# What is no graph


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no graph"),
        (b"\x80\x04.", "damaged"),
        (b"PK\x03\x04" * 10, "field"),
        (b"\x08\x0a" + b"\x3a\xff\xff\xff\xff\x0f", "middle of a ModelProto"),
        (b"\x08" + b"\xff" * 20, "number without end"),
        (b"\x0b\x0c", "field of the kind 3"),
        (decoder().SerializeToString()[:-3], "middle"),
        (decoder().SerializeToString().replace(b"MatMul", b"Mat\xff\xfel"), "not UTF-8"),
        (decoder().SerializeToString() + b"\xd0\x3e\x01", "which ONNX"),
    ],
)
def test_what_is_no_graph_is_told(refused, content, part):
    says(refused(content), "decoder.onnx", part, "export it again")


def test_messages_within_messages_have_a_depth(refused):
    def within(number: int, content: bytes) -> bytes:
        length, prefix = len(content), b""
        while length > 127:
            prefix, length = prefix + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + prefix + bytes([length]) + content

    content = b""
    for _ in range(200):
        content = within(1, within(5, within(6, content)))  # a graph in an attribute in a node in a graph
    says(refused(within(7, content)), "more than 16 deep")


def test_a_graph_of_countless_fields_is_not_parsed(refused):
    model = decoder().SerializeToString()
    empty_nodes = b"\x0a\x00" * 50_000
    says(refused(model + b"\x3a\xa0\x8d\x06" + empty_nodes, limits=BundleLimits(graph_fields=10_000)), "10,000 fields")


def test_packed_numbers_are_bounded_for_each_takes_eight_bytes(refused):
    tensor = helper.make_tensor("many", TensorProto.INT64, [5_000], [1] * 5_000)
    model = decoder()
    model.graph.initializer.append(tensor)
    says(refused(model, limits=BundleLimits(packed_bytes=4_000)), "4,000 bytes of packed", "raw data")


# What is not in the graph itself, and what is more than nodes and weights


def test_external_data_is_refused_wherever_it_stands(refused):
    outside = numpy_helper.from_array(WEIGHT, "W")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "/etc/passwd"), ("offset", "0")):
        outside.external_data.add(key=key, value=text)
    model = decoder()
    model.graph.initializer[0].CopyFrom(outside)
    says(refused(model), "weight 'W'", "external data", "save_as_external_data=False")

    model = decoder(node("Constant", "", "V", value=outside), node("MatMul", "z V", "x"))
    says(refused(model), "Constant_V", "'value'", "external data")

    sly = numpy_helper.from_array(WEIGHT, "W")
    sly.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")  # onnxruntime's own: an address in its memory
    model = decoder()
    model.graph.initializer[0].CopyFrom(sly)
    says(refused(model), "external data")


def test_functions_sparse_weights_and_training_are_refused(refused):
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 18)]
    )
    called = helper.make_node("Twice", ["h"], ["x"], domain="mine")
    model = decoder(node("MatMul", "z W", "h"), called, functions=[twice], opsets=[helper.make_opsetid("mine", 1)])
    says(refused(model), "functions of its own", "'Twice'", "inline_local_functions")

    model = decoder()
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3]))
    says(refused(model), "sparse", "dense")

    model = decoder()
    model.training_info.add()
    says(refused(model), "training_info", "inference")


@pytest.mark.parametrize(
    ("domain", "operator", "part"),
    [
        ("com.microsoft", "FusedMatMul", "onnxruntime's own"),
        ("ai.onnx.ml", "Scaler", "ai.onnx.ml"),
        ("mine", "Rm", "custom operators"),
    ],
)
def test_other_domains_are_refused(refused, domain, operator, part):
    other = helper.make_node(operator, ["z", "W"], ["x"], name="odd", domain=domain)
    model = decoder(other, opsets=[helper.make_opsetid(domain, 1)])
    says(refused(model), "'odd'", operator, repr(domain), part, "standard operators")


def test_a_domain_that_no_node_uses_does_no_harm(tmp_path):
    model = decoder(opsets=[helper.make_opsetid("ai.onnx.ml", 3)])  # tf2onnx writes it into every graph
    load_vae(open_bundle(write(tmp_path / "a.zip", MANIFEST, model))).decode(torch.ones(1, 2))


@pytest.mark.parametrize("opset", [1, 6, 29, 2**40])
def test_opsets_that_are_not_run_are_refused_with_the_range(refused, opset):
    says(refused(decoder(opset=opset)), f"opset {opset}", f"7 to {onnx.defs.onnx_opset_version()}", "opset_version=18")


def subgraph(name: str = "x") -> onnx.GraphProto:
    inner = [node("Identity", "z", name)]
    return helper.make_graph(inner, "inner", [], [value(name, "N", ROW)])


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "part"),
    [
        ("If", "c", {"then_branch": subgraph(), "else_branch": subgraph()}, "control flow"),
        ("Loop", "c c z", {"body": subgraph()}, "control flow"),
        ("Scan", "z", {"body": subgraph(), "num_scan_inputs": 1}, "control flow"),
        ("SequenceMap", "z", {"body": subgraph()}, "control flow"),
        ("SequenceConstruct", "z", {}, "sequences"),
        ("Optional", "z", {}, "optionals"),
        ("StringNormalizer", "z", {}, "texts"),
        ("RandomNormal", "", {"shape": [1, 3]}, "job's seed"),
        ("RandomNormalLike", "z", {}, "job's seed"),
        ("RandomUniformLike", "z", {}, "job's seed"),
        ("Bernoulli", "z", {}, "job's seed"),
        ("Multinomial", "z", {"sample_size": 3}, "job's seed"),
        ("NonZero", "z", {}, "depends on values"),
        ("Unique", "z", {}, "depends on values"),
        ("ImageDecoder", "z", {}, "write it with others"),
        ("NoSuchThing", "z", {}, "write it with others"),
    ],
)
def test_operators_are_an_allow_list(refused, operator, inputs, attributes, part):
    words = refused(decoder(node(operator, inputs, "x", **attributes)))
    says(words, f"'{operator}_x'", operator, part)


def test_a_graph_hidden_in_an_attribute_of_another_operator_is_found(refused):
    odd = node("Relu", "h", "x")
    odd.attribute.append(helper.make_attribute("body", subgraph()))
    says(refused(decoder(node("MatMul", "z W", "h"), odd)), "'body'", "graph within the graph")


def test_training_mode_is_refused(refused):
    ones = {name: np.ones(ROW, np.float32) for name in ("s", "b", "m", "v")}
    normalise = node("BatchNormalization", "h s b m v", "x m2 v2", training_mode=1)
    says(refused(decoder(node("MatMul", "z W", "h"), normalise, weights=ones)), "BatchNormalization_x", "module.eval()")

    drop = node("Dropout", "h ratio training", "x")
    drops = {"ratio": np.float32(0.5), "training": np.array(True)}
    says(refused(decoder(node("MatMul", "z W", "h"), drop, weights=drops)), "Dropout_x", "module.eval()")


# Weights


def changed_weight(**changes) -> onnx.ModelProto:
    model = decoder()
    for name, content in changes.items():
        model.graph.initializer[0].ClearField(name)
        if isinstance(content, list):
            getattr(model.graph.initializer[0], name).extend(content)
        else:
            setattr(model.graph.initializer[0], name, content)
    return model


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"raw_data": b"12345678"}, ["says shape [2, 3]", "holds 2"]),
        ({"dims": [2**20, 2**30]}, ["no tensor has"]),
        ({"dims": [-2, -3]}, ["no tensor has"]),
        ({"dims": [1] * 40}, ["no tensor has"]),
        ({"dims": [2**40, 2**40]}, ["no tensor has"]),
        ({"float_data": [1.0] * 6}, ["holds 12"]),
        ({"data_type": TensorProto.STRING}, ["STRING", "8 bits or more"]),
        ({"data_type": TensorProto.INT4}, ["INT4", "8 bits or more"]),
        ({"data_type": TensorProto.COMPLEX64}, ["COMPLEX64"]),
        ({"data_type": 99}, ["kind 99"]),
        ({"name": ""}, ["has no name"]),
    ],
)
def test_weights_hold_what_they_say(refused, changes, parts):
    says(refused(changed_weight(**changes)), "the weight", *parts)


def test_a_weight_stands_once_and_is_no_input(refused):
    model = decoder()
    model.graph.initializer.append(model.graph.initializer[0])
    says(refused(model), "'W'", "more than once")
    model = decoder()
    model.graph.input.append(value("W", LATENT, ROW))
    says(refused(model), "'W'", "is an input, too", "keep_initializers_as_inputs=False")


@pytest.mark.parametrize(
    ("limits", "parts"),
    [
        ({"graph_bytes": 50}, ["decoder.onnx", "at most 50"]),
        ({"nodes": 1}, ["2 nodes", "at most 1"]),
        ({"tensors": 1}, ["2 weights", "at most 1"]),
        ({"parameters": 8}, ["more than 8 parameters"]),
        ({"step_values": 2}, ["MatMul_h", "3, at most 2"]),
        ({"program_values": 5}, ["Add_x", "6, at most 5"]),
        ({"row_operations": 10}, ["MatMul_h", "at most 10"]),
    ],
)
def test_every_limit_is_named_with_what_goes_beyond_it(refused, limits, parts):
    nodes = [node("MatMul", "z W", "h"), node("Add", "h b", "x")]
    words = refused(decoder(*nodes, weights={"b": np.ones(ROW, np.float32)}), limits=BundleLimits(**limits))
    says(words, *parts)


# Inputs and outputs


@pytest.mark.parametrize(
    ("inputs", "outputs", "parts"),
    [
        ([value("z", 4, LATENT)], [X], ["input 'z'", "fixed batch axis of 4", "dynamic_shapes", "TensorSpec"]),
        ([Z], [value("x", 4, ROW)], ["output 'x'", "fixed batch axis of 4", "dynamic_shapes"]),
        ([value("z")], [X], ["input 'z'", "single number"]),
        ([value("z", "N", 7)], [X], ["[?, 7]", "latent.shape", "[N, 2]", "belong together"]),
        ([value("z", "N", LATENT, 1)], [X], ["[?, 2, 1]", "latent.shape"]),
        ([value("z", "N", LATENT, kind=TensorProto.DOUBLE)], [X], ["input 'z' is of DOUBLE", "Cast"]),
        ([value("z", "N", LATENT, kind=TensorProto.STRING)], [X], ["input 'z' is of STRING"]),
        ([Z], [value("x", "N", ROW, kind=TensorProto.DOUBLE)], ["output 'x' is of DOUBLE", "Cast"]),
        ([Z, value("y", "N", 3)], [X], ["input 'y'", "labels is null"]),
        ([Z, value("extra", "N")], [X], ["input 'extra'", "nobody would give"]),
        ([Z, Z], [X], ["more than once"]),
    ],
)
def test_inputs_and_outputs_are_those_of_the_manifest(refused, inputs, outputs, parts):
    says(refused(graph_of([node("MatMul", "z W", "x")], inputs, outputs, WEIGHTS)), "decoder.onnx", *parts)


def test_names_of_inputs_and_outputs_are_told(refused):
    model = graph_of([node("MatMul", "latents W", "x")], [value("latents", "N", LATENT)], [X], WEIGHTS)
    says(refused(model), "no input 'z'", "'latents'", "input_names=['z']")
    model = graph_of([node("MatMul", "z W", "rows")], [Z], [value("rows", "N", ROW)], WEIGHTS)
    says(refused(model), "no output 'x'", "'rows'", "output_names=['x']")
    learned = {**MANIFEST, "likelihood": {"kind": "gaussian", "std": "learned"}}
    says(refused(decoder(), learned), "no output 'std'", "output_names=['x', 'std']")
    alone = graph_of([node("MatMul", "x V", "mean")], [X], [value("mean", "N", LATENT)], {"V": WEIGHT.T.copy()})
    says(refused(manifest=WITH_ENCODER, encoder__onnx=alone), "encoder.onnx", "no output 'scale'", "head")


def test_an_input_or_output_that_is_no_tensor_is_refused(refused):
    sequence = helper.make_tensor_sequence_value_info("z", TensorProto.FLOAT, ["N", LATENT])
    says(refused(graph_of([node("MatMul", "z W", "x")], [sequence], [X], WEIGHTS)), "'z'", "no tensor")


@pytest.mark.parametrize(
    ("encoding", "y", "parts"),
    [
        ("one_hot", None, ["no input 'y'", "labels"]),
        ("one_hot", value("y", "N", 4), ["[?, 4]", "labels", "[N, 3]"]),
        ("one_hot", value("y", "N", kind=TensorProto.INT64), ["'y' is of INT64, not of FLOAT"]),
        ("index", value("y", "N", kind=TensorProto.INT32), ["'y' is of INT32, not of INT64", "index"]),
        ("index", value("y", "N", 3), ["'y' is of FLOAT, not of INT64"]),
        ("index", value("y", "N", 1, kind=TensorProto.INT64), ["[?, 1]", "[N]"]),
    ],
)
def test_labels_are_given_as_the_manifest_says(refused, encoding, y, parts):
    manifest = {**MANIFEST, "labels": {"classes": ["a", "b", "c"], "encoding": encoding}}
    model = graph_of([node("MatMul", "z W", "x")], [Z, *([y] if y is not None else [])], [X], WEIGHTS)
    says(refused(model, manifest), *parts)


def test_an_embedding_of_too_few_classes_is_found(refused):
    manifest = {**MANIFEST, "labels": {"classes": ["a", "b", "c"], "encoding": "index"}}
    nodes = [node("MatMul", "z W", "h"), node("Gather", "E y", "e"), node("Add", "h e", "x")]
    inputs = [Z, value("y", "N", kind=TensorProto.INT64)]
    model = graph_of(nodes, inputs, [X], {"W": WEIGHT, "E": np.ones((2, ROW), np.float32)})
    says(refused(model, manifest), "decoder does not run", "indices element out of data bounds")


@pytest.mark.parametrize(
    ("graph", "manifest", "parts"),
    [
        (decoder(), {**MANIFEST, "rows": {"kind": "tensor", "shape": [4]}}, ["rows of shape [3]", "[4]", "Reshape"]),
        (None, {**WITH_ENCODER, "latent": {"shape": [2]}, "encoder": {"head": "chunked"}}, ["needs 4 values per row"]),
    ],
)
def test_rows_and_heads_have_the_shape_that_the_manifest_says(refused, graph, manifest, parts):
    members = {"encoder__onnx": encoder()} if "encoder" in manifest else {}
    says(refused(graph, manifest, **members), *parts)


def test_an_encoder_of_other_latents_is_found(refused):
    wide = np.ones((ROW, 5), np.float32)
    nodes = [node("MatMul", "x V", "mean"), node("Neg", "mean", "scale")]
    model = graph_of(nodes, [X], [value("mean", "N", 5), value("scale", "N", 5)], {"V": wide})
    says(refused(manifest=WITH_ENCODER, encoder__onnx=model), "[1, 5]", "belong together")


def test_a_std_of_another_shape_is_refused(refused):
    manifest = {**MANIFEST, "likelihood": {"kind": "gaussian", "std": "learned"}}
    nodes = [node("MatMul", "z W", "x"), node("Exp", "z", "std")]
    model = graph_of(nodes, [Z], [X, value("std", "N", LATENT)], WEIGHTS)
    says(refused(model, manifest), "'std'", "[1, 2]", "[1, 3]")


# Nodes


@pytest.mark.parametrize(
    ("nodes", "parts"),
    [
        ([node("MatMul", "z U", "x")], ["MatMul_x", "'U'", "nothing before it"]),
        ([node("Neg", "x", "h"), node("MatMul", "z W", "x")], ["Neg_h", "'x'"]),
        ([node("MatMul", "z W", "x"), node("MatMul", "z W", "x")], ["makes 'x'", "already"]),
        ([node("Neg", "z", "z")], ["makes 'z'", "already"]),
        ([node("MatMul", "z", "x")], ["MatMul_x", "opset 18"]),
        ([node("Neg", "z", "x", axis="\0")], ["Neg_x", "axis"]),
        ([node("Neg", "z", "h")], ["'x'", "not what a node makes"]),
        ([node("Celu", "h", "x", alpha=[1])], ["Celu_x"]),
        ([node("Conv", "z W", "x")], ["Conv_x", "does not fit a batch of 1"]),
    ],
)
def test_nodes_fit_together(refused, nodes, parts):
    says(refused(decoder(*nodes)), *parts)


HUGE = 2**40


@pytest.mark.parametrize(
    ("operator", "inputs", "weights", "attributes"),
    [
        ("Expand", "z s", {"s": [HUGE, 1, LATENT]}, {}),
        ("ConstantOfShape", "s", {"s": [HUGE]}, {}),
        ("ConstantOfShape", "s", {"s": [2**62, 2**62]}, {}),
        ("Tile", "z s", {"s": [1, HUGE]}, {}),
        ("Pad", "z s", {"s": [0, HUGE, 0, HUGE]}, {}),
        ("Range", "a b c", {"a": 0, "b": HUGE, "c": 1}, {}),
        ("Einsum", "z z", {}, {"equation": "ab,cd->abcd"}),
        ("OneHot", "i d v", {"i": [[1]], "d": HUGE, "v": np.array([0, 1], np.float32)}, {}),
        ("Resize", "r _ _ s", {"r": np.ones((1, 1, 2, 2), np.float32), "s": [1, 1, HUGE, HUGE]}, {}),
        ("Gather", "z i", {"i": np.zeros((300, 300), np.int64)}, {"axis": 1}),
    ],
)
def test_sizes_are_bounded_before_anything_is_run(refused, operator, inputs, weights, attributes):
    arrays = {name: np.asarray(value, getattr(value, "dtype", np.int64)) for name, value in weights.items()}
    nodes = [node(operator, inputs, "big", **attributes), node("MatMul", "z W", "x")]
    # An Einsum of the batch with itself is the square of it.
    limits = BundleLimits(step_values=16 if operator == "Einsum" else 2**16)
    says(refused(decoder(*nodes, weights=arrays), limits=limits), f"{operator}_big", "more values for a row")


@pytest.mark.parametrize(
    ("operator", "inputs", "shapes", "attributes"),
    [
        ("Attention", "q q q", {"q": (1, 2, 256, 2)}, {}),
        ("Attention", "q q q", {"q": (1, 256, 4)}, {"q_num_heads": 2, "kv_num_heads": 2}),
        ("Einsum", "q r q", {"q": (256, 2), "r": (256, 2)}, {"equation": "ab,cb,ab->b"}),
        ("ConvTranspose", "q r", {"q": (1, 1, 16, 16), "r": (1, 4, 16, 16)}, {"pads": [15, 15, 15, 15]}),
    ],
)
def test_what_a_kernel_sets_aside_is_bounded_too(refused, operator, inputs, shapes, attributes):
    weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    model = decoder(node(operator, inputs, "big", **attributes), node("MatMul", "z W", "x"), weights=weights, opset=23)
    says(refused(model, limits=BundleLimits(step_values=2**16)), f"{operator}_big", "more values for a row")


def test_a_size_that_depends_on_values_is_refused(refused):
    nodes = [
        node("ReduceSum", "z", "total", keepdims=0),
        node("Cast", "total", "whole", to=TensorProto.INT64),
        node("Reshape", "whole one", "shape"),
        node("ConstantOfShape", "shape", "big"),
        node("MatMul", "z W", "x"),
    ]
    words = refused(decoder(*nodes, weights={"one": np.array([1])}))
    says(words, "ConstantOfShape_big", "depends on values", "write its shape as a constant")


def test_work_is_bounded_before_anything_is_run(refused):
    weights = {
        "K": np.ones((1, 1, 256, 256), np.float32),
        "s": np.array([-1, 1, 1, 2]),
        "one": np.array([1, 1, 256, 256]),
    }
    nodes = [
        node("Reshape", "z s", "h"),
        node("Pad", "h p", "wide"),
        node("Conv", "wide K", "c", pads=[128, 128, 127, 127]),
        node("MatMul", "z W", "x"),
    ]
    weights["p"] = np.array([0, 0, 127, 127, 0, 0, 128, 127])
    words = refused(decoder(*nodes, weights=weights), limits=BundleLimits(row_operations=2**30))
    says(words, "Conv_c", "operations for a row", "narrower")


# Rows and batches


@pytest.mark.parametrize(
    ("nodes", "weights", "parts"),
    [
        ([node("Reshape", "h s", "x")], {"s": [8, ROW]}, ["[8, 3] for 1 rows", "first axis", "Reshape"]),
        ([node("Reshape", "h s", "x")], {"s": [1, -1]}, ["[1, 9] for 3 rows", "first axis", "dynamic_shapes"]),
        ([node("ReduceMean", "h a", "x")], {"a": [0]}, ["[1, 3] for 3 rows", "first axis"]),
        (
            [node("Expand", "b s", "k"), node("Add", "h k", "x")],
            {"b": [0.0], "s": [4, ROW]},
            ["[4, 3] for 1 rows"],
        ),
    ],
)
def test_a_batch_axis_that_is_free_by_name_alone_is_found(refused, nodes, weights, parts):
    arrays = {name: np.asarray(v, np.float32 if name == "b" else np.int64) for name, v in weights.items()}
    says(refused(decoder(node("MatMul", "z W", "h"), *nodes, weights=arrays)), *parts)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ReduceMean", "h a", "m"), node("Sub", "h m", "x")],
        [node("Softmax", "h", "x", axis=0)],
        [node("CumSum", "h zero", "x")],
        [node("Gather", "h back", "m", axis=0), node("Add", "h m", "x")],
    ],
)
def test_rows_that_depend_on_each_other_are_refused(refused, nodes):
    weights = {"a": np.array([0]), "zero": np.array(0), "back": np.array([0])}
    words = refused(decoder(node("MatMul", "z W", "h"), *nodes, weights=weights))
    says(words, "row other values", "A row must depend on its own input alone", "moments over the batch")


def test_an_encoder_that_mixes_rows_is_refused_too(refused):
    nodes = [
        node("MatMul", "x V", "h"),
        node("ReduceMean", "h a", "m"),
        node("Sub", "h m", "mean"),
        node("Neg", "mean", "scale"),
    ]
    outputs = [value("mean", "N", LATENT), value("scale", "N", LATENT)]
    model = graph_of(nodes, [X], outputs, {"V": WEIGHT.T.copy(), "a": np.array([0])})
    says(refused(manifest=WITH_ENCODER, encoder__onnx=model), "The encoder gives a row other values")


def test_the_operators_that_are_run_are_those_that_the_documentation_lists():
    text = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    section = text.partition("### Operators of ONNX graphs")[2].partition("Left out")[0]
    assert set(re.findall(r"[A-Z]\w+", section)) - {"Opsets", "ONNX", "Value", "Shapes", "Networks"} == ALLOWED
