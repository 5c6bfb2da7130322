"""`export_onnx_vae` on files as Keras and TensorFlow users have them."""

import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch

from latentmill import export_onnx_vae
from latentmill.errors import InvalidBundle
from tests.unit.exporting.keras_graphs import LATENT, SIZE, Graph, conv_decoder, conv_encoder, dense_decoder
from workers.models import load_vae, open_bundle
from workers.models.onnx.runtime import load_onnxruntime

HWC = {"kind": "image", "shape": [SIZE, SIZE, 1], "layout": "HWC"}
CHW = {"kind": "image", "shape": [1, SIZE, SIZE]}
TENSOR = {"kind": "tensor", "shape": [6]}


@pytest.fixture
def export(tmp_path):
    def exported(encoder, decoder, rows=HWC, **options):
        options = {"latent_shape": LATENT} | options
        bundle = export_onnx_vae(tmp_path / "a.vae.zip", encoder, decoder, name="a", rows=rows, **options)
        assert (bundle.engine, bundle.largest_difference <= 1e-5) == ("onnx", True)
        return load_vae(open_bundle(bundle.path)), bundle

    return exported


def run(path, *outputs, **feeds):
    session = load_onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(value) for value in session.run(list(outputs) or None, feeds)]


def test_a_keras_pair_becomes_a_bundle(export, tmp_path):
    encoder, decoder = conv_encoder(tmp_path / "encoder.onnx"), conv_decoder(tmp_path / "decoder.onnx")
    examples = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE), np.uint8)
    vae, bundle = export(encoder, decoder, likelihood={"kind": "bernoulli"}, examples=examples)
    x, z = torch.rand(5, SIZE, SIZE, 1), torch.randn(5, LATENT)
    mean, log_variance = run(encoder, input_1=x.numpy())
    torch.testing.assert_close(vae.encode(x), (mean, torch.exp(0.5 * log_variance)))
    torch.testing.assert_close(vae.decode(z), run(decoder, input_2=z.numpy())[0])
    assert bundle.notes[-1] == "Engine onnx, for both parts are ONNX graphs."
    assert "mean row" in bundle.notes[0]
    with zipfile.ZipFile(bundle.path) as archive:
        model = onnx.load_from_string(archive.read("encoder.onnx"))
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["x", "mean", "scale"]
    assert not model.graph.doc_string
    assert export(encoder, decoder, likelihood={"kind": "bernoulli"})[1].digest == bundle.digest


def test_a_z_that_is_drawn_inside_is_left_out(export, tmp_path):
    outputs = ("z_mean/BiasAdd:0", "z_log_var/BiasAdd:0", "sampling/add:0")
    encoder = conv_encoder(tmp_path / "encoder.onnx", outputs=outputs, draws=True)
    vae, bundle = export(encoder, conv_decoder(tmp_path / "decoder.onnx"))
    x = torch.rand(2, SIZE, SIZE, 1)
    torch.testing.assert_close(vae.encode(x)[0], run(encoder, outputs[0], input_1=x.numpy())[0])
    assert bundle.notes[0] == "Outputs that are not read: 'sampling/add:0'."
    with pytest.raises(InvalidBundle, match=r"RandomNormalLike.*leave drawing to the service"):
        export(encoder, conv_decoder(tmp_path / "decoder.onnx"), outputs={"mean": outputs[2], "scale": outputs[1]})


def test_names_that_say_nothing_are_taken_in_order_or_as_said(export, tmp_path):
    decoder = conv_decoder(tmp_path / "decoder.onnx")
    two = conv_encoder(tmp_path / "two.onnx", outputs=("Identity:0", "Identity_1:0"))
    _, bundle = export(two, decoder)
    assert (
        bundle.notes[0]
        == "The encoder's outputs are taken in their order: 'Identity:0' as mean, 'Identity_1:0' as scale."
    )
    three = ("Identity:0", "Identity_1:0", "Identity_2:0")
    encoder = conv_encoder(tmp_path / "three.onnx", outputs=three, draws=True)
    with pytest.raises(InvalidBundle, match=r"which of its outputs are mean and scale: .*'Identity_2:0' \[\?, 2\]"):
        export(encoder, decoder)
    vae, _ = export(encoder, decoder, outputs={"mean": three[1], "scale": three[0]}, scale="std")
    x = torch.rand(2, SIZE, SIZE, 1)
    torch.testing.assert_close(vae.encode(x)[0], run(encoder, three[1], input_1=x.numpy())[0])


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_made_free_where_the_graph_does_the_same_then(batch, export, tmp_path):
    fixed = batch == 1
    encoder = conv_encoder(tmp_path / "encoder.onnx", batch=batch, fixed_reshape=fixed)
    decoder = conv_decoder(tmp_path / "decoder.onnx", batch=batch, fixed=fixed)
    vae, bundle = export(encoder, decoder)
    assert f"The encoder's batch axis, fixed at {batch}, is free in the bundle" in " ".join(bundle.notes)
    x = torch.rand(batch, SIZE, SIZE, 1)
    torch.testing.assert_close(vae.encode(x.repeat(3, 1, 1, 1))[0][-batch:], run(encoder, input_1=x.numpy())[0])


def test_a_fixed_batch_that_mixes_rows_is_refused(export, tmp_path):
    graph = Graph()
    first, last = (graph.stored(name, np.array(shape, np.int64)) for name, shape in (("a", [6, 2]), ("b", [2, 6])))
    mixed = graph.add("Reshape", [graph.dense("z", "dense", LATENT, 6), first], "mixed")
    graph.add("Reshape", [graph.add("Softmax", [mixed], "softmax", axis=0), last], "x")
    decoder = graph.save(tmp_path / "decoder.onnx", {"z": [2, LATENT]}, {"x": [2, 6]})
    with pytest.raises(InvalidBundle, match=r"fixed \(decoder.onnx at 2\), and cannot simply be made free"):
        export(None, decoder, TENSOR)


def test_flat_rows_labels_and_logits(export, tmp_path):
    decoder = dense_decoder(tmp_path / "decoder.onnx", SIZE * SIZE, labels=3)
    vae, bundle = export(None, decoder, labels=["a", "b", "c"], likelihood={"kind": "bernoulli"})
    z, y = torch.randn(4, LATENT), torch.tensor([2, 1, 0, 2])
    one_hot = torch.nn.functional.one_hot(y, 3).float()
    logits = run(decoder, z_sampling=z.numpy(), class_labels=one_hot.numpy())[0]
    torch.testing.assert_close(vae.decode(z, y), torch.sigmoid(logits).reshape(4, SIZE, SIZE, 1))
    assert "the bundle gives them [8, 8, 1]" in bundle.notes[0]
    assert "a Sigmoid is appended" in bundle.notes[1]
    vae, _ = export(None, decoder, labels=["a", "b", "c"], likelihood={"kind": "bernoulli"}, decoder_returns="mean")
    torch.testing.assert_close(vae.decode(z, y), logits.reshape(4, SIZE, SIZE, 1))


def test_a_table_of_logits_gets_a_softmax_for_each_column(export, tmp_path):
    columns = [
        {"name": "a", "kind": "number"},
        {"name": "b", "kind": "category", "categories": ["x", "y", "z"]},
        {"name": "c", "kind": "boolean", "missing": True},
    ]
    decoder = dense_decoder(tmp_path / "decoder.onnx", 6)
    vae, bundle = export(None, decoder, {"kind": "table", "columns": columns}, decoder_returns="logits")
    z = torch.randn(4, LATENT)
    raw = run(decoder, z_sampling=z.numpy())[0]
    wanted = torch.cat([raw[:, :1], raw[:, 1:4].softmax(1), raw[:, 4:].sigmoid()], 1)
    torch.testing.assert_close(vae.decode(z), wanted)
    assert "a Softmax for each column of categories" in bundle.notes[0]


def test_a_learned_std_and_integer_labels(export, tmp_path):
    outputs = ("x_mean", "x_std")
    decoder = dense_decoder(tmp_path / "decoder.onnx", 6, outputs=outputs)
    vae, _ = export(None, decoder, TENSOR, likelihood={"kind": "gaussian", "std": "learned"})
    z = torch.randn(4, LATENT)
    mean, std = run(decoder, z_sampling=z.numpy())
    torch.testing.assert_close(vae.decode_with_std(z), (mean, std.abs()))
    graph = Graph()
    names = graph.add("Gather", [graph.weight("embedding", 3, 6), "label"], "embedded", axis=0)
    row = graph.add("Reshape", [names, graph.stored("shape", np.array([-1, 6], np.int64))], "row")
    graph.add("Add", [graph.dense("z", "dense", LATENT, 6), row], "x")
    decoder = graph.save(
        tmp_path / "by_index.onnx",
        {"z": ["N", LATENT], "label": ["N", 1]},
        {"x": ["N", 6]},
        label=onnx.TensorProto.INT32,
    )
    vae, bundle = export(None, decoder, TENSOR, labels={"classes": ["a", "b", "c"], "encoding": "index"})
    y = torch.tensor([0, 2, 1, 1])
    torch.testing.assert_close(vae.decode(z, y), run(decoder, z=z.numpy(), label=y.int().numpy()[:, None])[0])
    assert "takes y as int32; the bundle casts it" in bundle.notes[0]


def test_weights_beside_the_file_are_taken_in(export, tmp_path):
    decoder = dense_decoder(tmp_path / "decoder.onnx", 6)
    onnx.save_model(
        onnx.load(decoder),
        tmp_path / "apart.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    vae, _ = export(None, tmp_path / "apart.onnx", TENSOR)
    z = torch.randn(3, LATENT)
    torch.testing.assert_close(vae.decode(z), run(decoder, z_sampling=z.numpy())[0])
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InvalidBundle, match=r"weights in weights.bin beside it, which cannot be read"):
        export(None, tmp_path / "apart.onnx", TENSOR)


def test_what_is_no_graph_of_a_vae_is_refused_in_words(export, tmp_path):
    encoder, decoder = conv_encoder(tmp_path / "encoder.onnx"), conv_decoder(tmp_path / "decoder.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07\x3a\xff\xff no graph")
    (tmp_path / "model.h5").write_bytes(b"")
    graph = Graph()
    graph.add("Add", ["z", "noise"], "x")
    noisy = graph.save(tmp_path / "noisy.onnx", {"z": ["N", 2], "noise": ["N", 2]}, {"x": ["N", 2]})
    cases = [
        ((None, tmp_path / "missing.onnx"), {}, "cannot be read: No such file"),
        ((None, tmp_path / "broken.onnx"), {}, "is no ONNX graph, or a damaged one"),
        ((None, tmp_path / "model.h5"), {}, "is a Keras file: convert it with tf2onnx"),
        ((None, tmp_path), {}, "is a folder"),
        ((None, noisy, {"kind": "tensor", "shape": [2]}), {}, r"'z' \[\?, 2\], 'noise' \[\?, 2\].*and nothing else"),
        ((encoder, decoder, CHW), {}, r'rows=\{"shape": \[8, 8, 1\], "layout": "HWC"'),
        ((encoder, decoder), {"head": "chunked"}, "head 'chunked' needs 4 values per row"),
        ((encoder, decoder), {"scale": "std"}, "it returns 'z_log_var', but scale says 'std'"),
        ((encoder, decoder), {"inputs": {"x": "input_9"}}, "'input_9' for 'x', and the graph has inputs 'input_1'"),
        ((encoder, decoder), {"outputs": {"mean": "z_mean"}}, "outputs says None for 'scale'"),
        ((decoder, decoder), {"outputs": {}}, "which of its outputs are mean and scale"),
        ((None, decoder), {"latent_shape": 3}, r"its input z has rows of shape \[2\], but is given \[3\]"),
        ((encoder, decoder), {"decoder_returns": "probabilities"}, "decoder_returns must be auto, mean or logits"),
    ]
    for files, options, says in cases:
        with pytest.raises(InvalidBundle, match=says):
            export(*files, **options)
    assert not (tmp_path / "a.vae.zip").exists()


SCRIPT = """
import sys
from latentmill import export_onnx_vae
from latentmill.errors import InvalidBundle
try:
    export_onnx_vae("a.vae.zip", None, "missing.onnx", name="a", rows={"kind": "tensor", "shape": [3]}, latent_shape=2)
except InvalidBundle:
    print([name for name in ("torch.onnx._internal.exporter", "onnxscript", "onnxruntime") if name in sys.modules])
"""


@pytest.mark.full
def test_files_need_no_exporter_of_torch(tmp_path):
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.stdout.strip() == "[]", result.stderr
