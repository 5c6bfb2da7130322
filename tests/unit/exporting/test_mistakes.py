"""What is given in place of two modules, and how the refusal helps."""

from pathlib import Path

import pytest
import torch
from torch import nn

from latentmill import export_vae
from latentmill.errors import InvalidBundle
from workers.models import load_vae, open_bundle

ROWS = {"kind": "tensor", "shape": [5]}


class WholeVae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 4), nn.Linear(2, 5)

    def forward(self, x):
        mean, log_var = self.encoder(x).chunk(2, 1)
        return self.decoder(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)), mean, log_var


class LightningModule(nn.Module):
    """Named as lightning's own, which is not installed for tests."""


class Training(LightningModule):
    pass


def lazy():
    return nn.LazyLinear(5)


class Scripted(nn.Module):
    def forward(self, z):
        return z


MISTAKES = {
    "a checkpoint": (
        "model.pt",
        r"a path to a file.*load_state_dict\(torch.load\(path, weights_only=True\)\).*decoder=vae.decoder",
    ),
    "a path": (Path("model.pkl"), "No file is opened here"),
    "a .pt2": ("model.pt2", r"a \.pt2 archive of torch.export, which can carry pickles"),
    "an ONNX graph": ("decoder.onnx", r"a path to an ONNX graph: latentmill.export_onnx_vae"),
    "a Keras file": ("model.h5", "convert it to ONNX first"),
    "weights": (nn.Linear(2, 5).state_dict(), "a state_dict .*give the module"),
    "a class": (nn.Linear, "is the class Linear, without weights"),
    "a whole training": (Training(), "a LightningModule, which holds a whole training"),
    "a function": (lambda z: z, "is a function; it must be a torch.nn.Module"),
    "no weights yet": (lazy(), "has no shape yet; run the module once"),
    "doubles": (nn.Linear(2, 5).double(), r"torch.float64; bundles hold float32: call decoder.float\(\)"),
    "meta": (nn.Linear(2, 5, device="meta"), "no values, being on the device meta"),
    "half": (nn.Linear(2, 5).half(), r"torch.float16"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_module_is_named_with_the_way_out(name, tmp_path):
    given, says = MISTAKES[name]
    with pytest.raises(InvalidBundle, match=says):
        export_vae(tmp_path / "a.zip", name="a", encoder=None, decoder=given, rows=ROWS, latent_shape=2)


def test_a_whole_vae_is_taken_apart(tmp_path):
    vae = WholeVae()
    for encoder, decoder in ((vae, vae.decoder), (vae.encoder, vae), (vae, vae)):
        with pytest.raises(
            InvalidBundle, match=r"(?s)encoder=vae.encoder and decoder=vae.decoder, or wrap.*class Encoder"
        ) as refusal:
            export_vae(
                tmp_path / "a.zip",
                name="a",
                encoder=encoder,
                decoder=decoder,
                rows=ROWS,
                latent_shape=2,
                head="chunked",
            )
        assert "def forward(self, z):" in refusal.value.detail
    made = export_vae(
        tmp_path / "a.zip",
        name="a",
        encoder=vae.encoder,
        decoder=vae.decoder,
        rows=ROWS,
        latent_shape=2,
        head="chunked",
    )
    assert made.engine == "torch"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    scripted = torch.jit.script(Scripted())
    with pytest.raises(InvalidBundle, match="a TorchScript module, which cannot be read"):
        export_vae(tmp_path / "a.zip", name="a", encoder=None, decoder=scripted, rows=ROWS, latent_shape=5)


def test_what_training_puts_around_a_module_is_taken_off(tmp_path):
    plain = nn.Linear(2, 5)
    normed = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 8)), nn.utils.parametrizations.spectral_norm(nn.Linear(8, 5))
    )
    z = torch.randn(3, 2)
    for wrapped, module in (
        (torch.compile(plain, backend="eager"), plain),
        (nn.DataParallel(plain), plain),
        (normed, normed),
    ):
        made = export_vae(tmp_path / "a.zip", name="a", encoder=None, decoder=wrapped, rows=ROWS, latent_shape=2)
        assert made.engine == "torch"
        module.eval()
        torch.testing.assert_close(load_vae(open_bundle(made.path)).decode(z), module(z).detach())
        module.train()
    assert nn.utils.parametrize.is_parametrized(normed[0])
