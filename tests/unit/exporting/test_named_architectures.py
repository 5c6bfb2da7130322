"""Modules of a named architecture: made untrained, trained, and written under its name."""

import pytest
import torch
from torch import nn

from latentmill import export_vae, untrained_vae
from latentmill.errors import InvalidBundle
from workers.models import load_vae, open_bundle
from workers.models.architectures.sequential.architecture import ALLOWED
from workers.models.architectures.sequential.layers import Layer

IMAGE = {"kind": "image", "shape": [1, 8, 8], "range": [0, 1]}
SERIES = {"kind": "series", "steps": 5, "features": ["a", "b"], "mean": [0, 0], "std": [1, 1]}
NORMAL = {"kind": "gaussian", "std": 0.1}
RECURRENT = {
    "name": "sequential",
    "encoder": {
        "steps": [
            {"id": "gru", "layer": "GRU", "input_size": 2, "hidden_size": 6},
            {"id": "last", "layer": "Select", "dim": 1, "index": -1, "inputs": ["gru.hidden"]},
            {"id": "mean", "layer": "Linear", "in_features": 6, "out_features": 3, "inputs": ["last"]},
            {"id": "scale", "layer": "Linear", "in_features": 6, "out_features": 3, "inputs": ["last"]},
        ],
        "outputs": ["mean", "scale"],
    },
    "decoder": [
        {"id": "start", "layer": "Constant", "shape": [5, 3]},
        {"id": "given", "layer": "Reshape", "shape": [1, 3], "inputs": ["z"]},
        {"id": "repeated", "layer": "Add", "inputs": ["given", "start"]},
        {"id": "lstm", "layer": "LSTM", "input_size": 3, "hidden_size": 6, "bidirectional": True},
        {"id": "out", "layer": "Linear", "in_features": 12, "out_features": 2},
    ],
}
ARCHITECTURES = {
    "mlp": ({"name": "mlp", "hidden": [16]}, IMAGE),
    "conv": ({"name": "conv", "channels": [4, 8], "hidden": [16]}, IMAGE),
    "residual": ({"name": "residual", "channels": [4, 8], "blocks": 1, "norm": "batch"}, IMAGE),
    "sequential": (RECURRENT, SERIES),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_trained_and_exported_under_its_name(name, tmp_path):
    torch.manual_seed(0)
    architecture, rows = ARCHITECTURES[name]
    declared = {"rows": rows, "latent_shape": [3], "likelihood": NORMAL}
    encoder, decoder = untrained_vae(architecture, **declared)
    assert encoder.training
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
    x = torch.rand(8, *((1, 8, 8) if rows is IMAGE else (5, 2)))
    losses = []
    for _ in range(10):
        mean, _ = encoder(x)
        (made,) = decoder(mean)
        loss = (made - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    path = tmp_path / "a.vae.zip"
    bundle = export_vae(path, name="a", encoder=encoder, decoder=decoder, architecture=architecture, **declared)
    assert bundle.manifest.architecture == architecture
    assert bundle.notes[-1] == f"Engine torch: the architecture {name}."
    z = torch.randn(4, 3)
    with torch.no_grad():
        torch.testing.assert_close(load_vae(open_bundle(path)).decode(z), decoder.eval()(z)[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"architecture": {"name": "mlp", "hidden": [9]}}, r"the architecture has \[9, 64\]"),
        ({"architecture": {"name": "conv", "channels": [4]}}, "The weights do not match the architecture; missing:"),
        ({"architecture": {"name": "mlp", "hidden": [16], "output": "sigmoid"}}, "differs by"),
        ({"architecture": {"name": "mlp", "hidden": "16"}}, "hidden of mlp must be"),
        ({"architecture": {"hidden": [16]}}, 'architecture must have a "name"'),
        ({"engine": "onnx"}, "belongs to the engine torch"),
        ({"decoder_returns": "logits"}, "Nothing can be appended"),
    ],
)
def test_what_does_not_belong_to_the_architecture_is_refused(options, says, tmp_path):
    architecture, rows = ARCHITECTURES["mlp"]
    encoder, decoder = untrained_vae(architecture, rows=rows, latent_shape=3)
    with pytest.raises(InvalidBundle, match=says):
        export_vae(
            tmp_path / "a.vae.zip", name="a", encoder=encoder, decoder=decoder, rows=rows, latent_shape=3,
            **{"architecture": architecture} | options,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_weights_that_nothing_initialises_are_refused(monkeypatch):
    bare = nn.Module()
    bare.forward = lambda given: given
    bare.weight = nn.Parameter(torch.empty(2, device="meta"))
    monkeypatch.setitem(ALLOWED, "Bare", Layer(lambda: bare, {}))
    with pytest.raises(InvalidBundle, match="'0', a Module, has weights but no reset_parameters"):
        untrained_vae(
            {"name": "sequential", "encoder": {"steps": [{"layer": "Bare"}]}, "decoder": [{"layer": "Tanh"}]},
            rows={"kind": "tensor", "shape": [3]}, latent_shape=3, scale="none",
        )  # fmt: skip
