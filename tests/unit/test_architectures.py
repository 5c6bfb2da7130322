"""Named architectures, the allow-list and the registry: numbers in, networks out."""

import json
import zipfile
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from safetensors.torch import save
from torch import nn

from latentmill.errors import InvalidBundle, InvalidLabels
from latentmill.specs import Execution, VaeManifest
from workers.models import DEFAULT_LIMITS, load_vae, open_bundle
from workers.models.architectures import installed as architectures_installed
from workers.models.architectures import registry
from workers.models.architectures.interface import ENTRY_POINTS
from workers.models.architectures.sequential.architecture import ALLOWED, build_program
from workers.models.inspection import inspect_bundle

MLP = {"name": "mlp", "hidden": [16, 8], "activation": "elu", "output": "sigmoid"}
CONV = {"name": "conv", "channels": [4, 8], "hidden": [16], "resize": 16}
RESIDUAL = {"name": "residual", "channels": [4, 8], "blocks": 1, "groups": 2}
IMAGE = {"kind": "image", "shape": [3, 14, 14]}


def manifest_of(architecture, **changes) -> dict:
    manifest = {
        "schema": 1,
        "name": "named",
        "engine": "torch",
        "latent": {"shape": [5]},
        "rows": IMAGE,
        "encoder": {"scale": "log_variance", "head": "pair"},
        "likelihood": {"kind": "bernoulli"},
        "architecture": architecture,
    }
    return {**manifest, **changes}


def bundle_of(manifest: dict, path, scale: float = 0.2):
    """A bundle whose weights are seeded noise of the shapes that the architecture wants."""
    generator = torch.Generator().manual_seed(0)
    networks = registry.build(VaeManifest.model_validate(manifest), DEFAULT_LIMITS)
    weights = {
        f"{part}.{name}": scale * torch.randn(weight.shape, generator=generator).abs_()
        if name.endswith("running_var")
        else scale * torch.randn(weight.shape, generator=generator)
        for part, network in (("encoder", networks.encoder), ("decoder", networks.decoder))
        if network is not None
        for name, weight in network.state_dict().items()
        if weight.ndim  # not how many batches a batch norm has seen
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(manifest))
        archive.writestr("weights.safetensors", save(weights))
    return path


@pytest.mark.parametrize("architecture", [MLP, CONV, RESIDUAL], ids=["mlp", "conv", "residual"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"encoder": {"head": "chunked"}},
        {"encoder": {"head": "interleaved", "scale": "std"}},
        {"encoder": {"scale": "none"}},
        {"encoder": None},
        {"labels": {"classes": ["a", "b", "c"]}},
        {"labels": {"classes": ["a", "b", "c"], "encoding": "index"}},
    ],
    ids=["pair", "chunked", "interleaved", "none", "decoder alone", "one-hot", "index"],
)
def test_named_architectures_take_every_head_and_labels(architecture, changes, tmp_path):
    manifest = manifest_of(architecture, **changes)
    vae = load_vae(open_bundle(bundle_of(manifest, tmp_path / "a.zip")))
    labels = torch.tensor([0, 1, 2, 0]) if "labels" in changes else None
    rows = vae.decode(torch.randn(4, 5), labels)
    assert rows.shape == (4, 3, 14, 14)
    assert 0 <= float(rows.min()) <= float(rows.max()) <= 1
    if manifest["encoder"] is None:
        with pytest.raises(InvalidBundle, match="no encoder"):
            vae.encode(rows)
        return
    mean, std = vae.encode(rows, labels)
    assert mean.shape == std.shape == (4, 5)
    assert bool((std >= 0).all())
    if labels is not None:
        other = vae.decode(torch.zeros(2, 5), torch.tensor([0, 1]))
        assert not torch.equal(other[0], other[1])
        with pytest.raises(InvalidLabels, match="each of 4 rows"):
            vae.decode(torch.zeros(4, 5))


def test_mlp_is_what_its_numbers_say(tmp_path):
    path = bundle_of(manifest_of(MLP), tmp_path / "a.zip")
    weights = open_bundle(path).tensors
    z = torch.randn(6, 5)
    hidden = z
    for index in range(2):
        layer = f"decoder.hidden{index}"
        hidden = nn.functional.elu(nn.functional.linear(hidden, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    expected = torch.sigmoid(nn.functional.linear(hidden, weights["decoder.out.weight"], weights["decoder.out.bias"]))
    torch.testing.assert_close(load_vae(open_bundle(path)).decode(z).flatten(1), expected)


@pytest.mark.parametrize(
    ("head", "labels"),
    [
        ({"head": "pair"}, None),
        ({"head": "chunked", "scale": "std"}, {"classes": ["a", "b"]}),
        ({"scale": "none"}, {"classes": ["a", "b"], "encoding": "index"}),
    ],
)
def test_residual_blocks_have_spatial_latents(head, labels, tmp_path):
    manifest = manifest_of(RESIDUAL, latent={"shape": [2, 7, 7]}, encoder=head, labels=labels)
    vae = load_vae(open_bundle(bundle_of(manifest, tmp_path / "a.zip")))
    y = torch.tensor([0, 1, 1]) if labels else None
    mean, std = vae.encode(torch.rand(3, 3, 14, 14), y)
    assert mean.shape == std.shape == (3, 2 * 7 * 7)
    rows = vae.decode(torch.zeros(3, 98), y)
    assert rows.shape == (3, 3, 14, 14)
    torch.testing.assert_close(rows[1], rows[2])
    assert torch.allclose(rows[0], rows[1]) == (labels is None)


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_residual_is_what_its_numbers_say(norm, tmp_path):
    manifest = manifest_of({**RESIDUAL, "norm": norm, "channels": [4]}, encoder=None)
    path = bundle_of(manifest, tmp_path / "a.zip")
    weights = open_bundle(path).tensors

    def normed(name, value):
        if norm == "batch":
            running = [weights[f"decoder.{name}.running_{what}"] for what in ("mean", "var")]
            value = nn.functional.batch_norm(
                value, *running, weights[f"decoder.{name}.weight"], weights[f"decoder.{name}.bias"]
            )
        if norm == "group":
            value = nn.functional.group_norm(
                value, 2, weights[f"decoder.{name}.weight"], weights[f"decoder.{name}.bias"]
            )
        return nn.functional.silu(value)

    def convolved(name, value):
        return nn.functional.conv2d(
            value, weights[f"decoder.{name}.weight"], weights[f"decoder.{name}.bias"], padding=1
        )

    z = torch.randn(3, 5)
    start = nn.functional.linear(z, weights["decoder.spread.weight"], weights["decoder.spread.bias"])
    start = start.reshape(3, 4, 14, 14)
    half = convolved("level0_block0_conv0", normed("level0_block0_norm0", start))
    block = start + convolved("level0_block0_conv1", normed("level0_block0_norm1", half))
    expected = torch.sigmoid(convolved("out", normed("norm", block)))
    torch.testing.assert_close(load_vae(open_bundle(path)).decode(z), expected)


@pytest.mark.parametrize(
    ("architecture", "changes", "says"),
    [
        ({**RESIDUAL, "channels": [4] * 3}, {}, "not 14 x 14"),
        ({**RESIDUAL, "channels": []}, {}, "channels of residual"),
        ({**RESIDUAL, "blocks": 10**6}, {}, "blocks of residual must be a whole number from 1 to 32"),
        ({**RESIDUAL, "groups": 3}, {}, "3 does not divide 4"),
        ({**RESIDUAL, "norm": "layer"}, {}, "norm of residual"),
        (RESIDUAL, {"latent": {"shape": [2, 14, 14]}}, r"\[C, 7, 7\]"),
        (RESIDUAL, {"latent": {"shape": [2, 7, 7]}, "encoder": {"head": "interleaved"}}, "head chunked"),
        (RESIDUAL, {"rows": {"kind": "tensor", "shape": [3]}}, "images of layout CHW"),
        ({**RESIDUAL, "channels": [2**14] * 8, "blocks": 32}, {}, "not 14 x 14"),
        ({**MLP, "hidden": []}, {}, "hidden of mlp"),
        ({**MLP, "hidden": [0]}, {}, "hidden of mlp"),
        ({**MLP, "activation": "sin"}, {}, "activation of mlp"),
        ({**MLP, "depth": 3}, {}, "no number 'depth'"),
        (MLP, {"likelihood": {"kind": "gaussian", "std": "learned"}}, "learns no std"),
        ({**CONV, "resize": 15}, {}, "set resize"),
        ({"name": "conv", "channels": [4, 4]}, {}, "not 14 x 14"),
        (CONV, {"rows": {"kind": "tensor", "shape": [3]}}, "images of layout CHW"),
        ({"name": "sequential", "encoder": []}, {}, "needs a decoder"),
        ({"name": "sequential", "decoder": {"steps": [{"layer": "ReLU"}], "outputs": ["x"]}}, {}, "must name steps"),
        ({"name": "sequential", "decoder": {"layers": []}}, {}, "list of steps"),
        ({"name": "sequential", "decoder": [7]}, {}, "is an object"),
    ],
)
def test_numbers_that_are_wrong_are_named(architecture, changes, says):
    with pytest.raises(InvalidBundle, match=says) as refusal:
        registry.build(VaeManifest.model_validate(manifest_of(architecture, **changes)), DEFAULT_LIMITS)
    assert refusal.value.errors[0].pointer.startswith("/")


class Doubling(nn.Module):
    def __init__(self, weight=None, buffer=None):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1)) if weight is None else weight
        if buffer is not None:
            self.register_buffer("buffer", buffer, persistent=False)

    def forward(self, given, labels=None):
        return (2 * self.factor * given,)


def doubling(numbers, manifest, limits):
    return None, Doubling()


def careless(numbers, manifest, limits):
    return None, Doubling(nn.Parameter(torch.ones(numbers["width"])))


INSTALLED = {
    "doubling": doubling,
    "careless": careless,
    "early": lambda numbers, manifest, limits: (None, Doubling(nn.Parameter(torch.ones(1, device="cpu")))),
    "hiding": lambda numbers, manifest, limits: (None, Doubling(buffer=torch.ones(1))),
    "alone": lambda numbers, manifest, limits: Doubling(),
    "constant": 7,
    "mlp": doubling,
}


@pytest.fixture
def installed(monkeypatch):
    """Packages of an operator, as far as their entry points go."""
    points = [EntryPoint(name, f"{__name__}:INSTALLED", ENTRY_POINTS) for name in INSTALLED]
    points += [EntryPoint("missing", "not_here_at_all:make", ENTRY_POINTS)]
    points += [EntryPoint("twice", f"{package}:make", ENTRY_POINTS) for package in ("first_package", "second_package")]
    load = EntryPoint.load
    monkeypatch.setattr(
        EntryPoint, "load", lambda point: INSTALLED[point.name] if point.name in INSTALLED else load(point)
    )
    monkeypatch.setattr(architectures_installed, "entry_points", lambda **wanted: EntryPoints(points).select(**wanted))


def test_operators_add_architectures_by_entry_point(installed, tmp_path):
    manifest = manifest_of({"name": "doubling"}, encoder=None, rows={"kind": "tensor", "shape": [5]})
    path = bundle_of(manifest, tmp_path / "a.zip")
    assert load_vae(open_bundle(path)).decode(torch.ones(2, 5)).shape == (2, 5)
    assert registry.library_of(VaeManifest.model_validate(manifest)) == __name__.partition(".")[0]
    known = ", ".join(sorted({*registry.BUILT_IN, *INSTALLED, "missing", "twice"}))
    with pytest.raises(InvalidBundle, match=f"this service knows {known}"):
        registry.build(VaeManifest.model_validate(manifest_of({"name": "tripling"})), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ({"name": "missing"}, "cannot be loaded here (ModuleNotFoundError: No module named 'not_here_at_all')"),
        (
            {"name": "twice"},
            "'twice' here, of the packages first_package and second_package",
        ),
        ({"name": "constant"}, "is a int"),
        ({"name": "alone"}, "returned a Doubling where it must return (encoder or None, decoder)"),
        ({"name": "careless"}, "does not take these numbers (KeyError: 'width')"),
        ({"name": "careless", "width": "\ud800"}, "does not take these numbers (TypeError"),
        ({"name": "early"}, "made 'factor' on cpu"),
        ({"name": "hiding"}, "the buffer 'buffer' with persistent=False"),
        ({"name": "mlp", "hidden": []}, "hidden of mlp must be"),  # what is built in cannot be replaced
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else None,
)
def test_what_is_wrong_with_an_installed_architecture_is_said(installed, architecture, says):
    manifest = manifest_of(architecture, encoder=None, rows={"kind": "tensor", "shape": [5]})
    with pytest.raises(InvalidBundle) as refusal:
        registry.build(VaeManifest.model_validate(manifest), DEFAULT_LIMITS)
    assert says in refusal.value.detail


EXAMPLES = {  # the numbers without a default, and the shape of a row, for layers that a plain (8,) row does not suit
    "Linear": ({"in_features": 8, "out_features": 3}, (8,)),
    "Conv1d": ({"in_channels": 2, "out_channels": 3, "kernel_size": 3}, (2, 8)),
    "Conv2d": ({"in_channels": 2, "out_channels": 3, "kernel_size": [3, 2]}, (2, 8, 8)),
    "ConvTranspose1d": ({"in_channels": 2, "out_channels": 3, "kernel_size": 3}, (2, 8)),
    "ConvTranspose2d": ({"in_channels": 2, "out_channels": 3, "kernel_size": 3}, (2, 8, 8)),
    "BatchNorm1d": ({"num_features": 8}, (8,)),
    "BatchNorm2d": ({"num_features": 2}, (2, 8, 8)),
    "InstanceNorm1d": ({"num_features": 2}, (2, 8)),
    "InstanceNorm2d": ({"num_features": 2}, (2, 8, 8)),
    "GroupNorm": ({"num_groups": 2, "num_channels": 8}, (8,)),
    "LayerNorm": ({"normalized_shape": [8]}, (8,)),
    "RMSNorm": ({"normalized_shape": [8]}, (8,)),
    "Softmax": ({"dim": 1}, (8,)),
    "Softmin": ({"dim": 1}, (8,)),
    "Threshold": ({"threshold": 0.1, "value": 2.0}, (8,)),
    "LogSoftmax": ({"dim": -1}, (8,)),
    "Upsample": ({"scale_factor": [2, 1.5], "mode": "bilinear"}, (2, 8, 8)),
    "PixelShuffle": ({"upscale_factor": 2}, (4, 8, 8)),
    "PixelUnshuffle": ({"downscale_factor": 2}, (4, 8, 8)),
    "Reshape": ({"shape": [2, 4]}, (8,)),
    "Unflatten": ({"dim": 1, "unflattened_size": [2, 4]}, (8,)),
    "Permute": ({"dims": [2, 1]}, (2, 4)),
    "Expand": ({"shape": [3, 8]}, (1, 8)),
    "Slice": ({"dim": 1, "stop": 3}, (8,)),
    "Select": ({"dim": 1, "index": 0}, (8,)),
    "Mean": ({"dims": [1]}, (2, 8)),
    "Sum": ({"dims": [-1]}, (2, 8)),
    "Max": ({"dims": [1, 2], "keepdim": True}, (2, 8)),
    "Min": ({"dims": [2]}, (2, 8)),
    "Flip": ({"dims": [1]}, (2, 8)),
    "GRU": ({"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True}, (6, 3)),
    "LSTM": ({"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True, "proj_size": 2}, (6, 3)),
    "RNN": ({"input_size": 3, "hidden_size": 4, "nonlinearity": "relu", "bias": False}, (6, 3)),
    "GRUCell": ({"input_size": 8, "hidden_size": 4}, (8,)),
    "LSTMCell": ({"input_size": 8, "hidden_size": 4}, (8,)),
    "RNNCell": ({"input_size": 8, "hidden_size": 4}, (8,)),
    "Constant": ({"shape": [8]}, (8,)),
    "Clamp": ({"minimum": -0.5}, (8,)),
} | {
    f"{name}{axes}d": (numbers | ({"padding": 1} if "Pad" in name else {}), (2, 8, 8) if axes == 2 else (2, 8))
    for axes in (1, 2)
    for name, numbers in {
        "MaxPool": {"kernel_size": 2},
        "AvgPool": {"kernel_size": 2},
        "AdaptiveAvgPool": {"output_size": 2},
        "AdaptiveMaxPool": {"output_size": 2},
        "ZeroPad": {},
        "ConstantPad": {},
        "ReflectionPad": {},
        "ReplicationPad": {},
        "CircularPad": {},
    }.items()
}
INDICES = {"Embedding": {"num_embeddings": 4, "embedding_dim": 2}, "OneHot": {"classes": 4}}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # said once in a process
@pytest.mark.parametrize("layer", sorted(set(ALLOWED) - set(INDICES)))
def test_every_layer_runs_and_keeps_rows_apart(layer):
    numbers, shape = EXAMPLES.get(layer, ({}, (8,)))
    step = {"id": "a", "layer": layer, "inputs": ["x"] * ALLOWED[layer].inputs[0], **numbers}
    outputs = ["a", *(f"a.{name}" for name in ALLOWED[layer].also)]
    program = build_program({"steps": [step], "outputs": outputs}, "x", False, DEFAULT_LIMITS, "/here")
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.rand(w.shape, generator=generator) for name, w in program.state_dict().items() if w.ndim}
    program.load_state_dict(state | {k: torch.zeros(()) for k in program.state_dict() if k not in state}, assign=True)
    program.eval()
    rows = torch.randn(5, *shape, generator=generator)
    together = program(rows)
    assert {len(output) for output in together} == {5}
    for index in range(5):
        for output, all_rows in zip(program(rows[index : index + 1]), together, strict=True):
            torch.testing.assert_close(output[0], all_rows[index], equal_nan=True)  # of a logarithm


@pytest.mark.parametrize("layer", INDICES)
def test_layers_of_class_indices(layer):
    steps = [{"layer": layer, "inputs": ["y"], **INDICES[layer]}]
    program = build_program(steps, "z", True, DEFAULT_LIMITS, "/here").to_empty(device="cpu")
    output = program(torch.zeros(3, 1), torch.tensor([0, 3, 1]))[0]
    assert output.shape == (3, 4 if layer == "OneHot" else 2)
    if layer == "OneHot":
        assert output.argmax(1).tolist() == [0, 3, 1]


def test_the_allow_list_has_an_example_of_each():
    assert set(EXAMPLES) <= set(ALLOWED)


def test_inspection_measures_and_warns(tmp_path):
    logits = {**MLP, "output": "none"}
    found = inspect_bundle(bundle_of(manifest_of(logits), tmp_path / "a.zip", 1.0), devices=["cpu"], threads=1)
    assert found.manifest.name == "named"
    measured = found.executions["cpu"]
    assert measured.rows_per_s > 0
    assert measured.bytes_per_row == 3 * 14 * 14
    assert measured.execution.batch_rows % 64 == 0
    assert measured.execution.threads == 1
    assert "Sigmoid" in found.warnings[0]


def test_inspection_warns_of_a_scale_that_overflows(tmp_path):
    manifest = manifest_of({**MLP, "output": "sigmoid"}, encoder={"scale": "variance", "head": "pair"})
    found = inspect_bundle(bundle_of(manifest, tmp_path / "a.zip"), devices=["cpu"], threads=1)
    assert "is the scale really 'variance'" in found.warnings[0]


def test_another_dtype_is_part_of_the_execution(tmp_path):
    bundle = open_bundle(bundle_of(manifest_of(MLP), tmp_path / "a.zip"))
    execution = Execution(
        device="cpu", device_name="any", engine="torch", dtype="bfloat16", batch_rows=64, threads=1, versions={}
    )
    z = torch.randn(4, 5)
    low, full = load_vae(bundle, execution=execution).decode(z), load_vae(bundle).decode(z)
    assert low.dtype == torch.float32
    assert not torch.equal(low, full)
    torch.testing.assert_close(low, full, atol=0.02, rtol=0)
