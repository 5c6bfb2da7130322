"""pythae's models as bundles: what it saved and what lives gives what pythae itself gives, or is refused by name.

pythae runs in a process of its own; here its folders are converted without it.
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from latentmill import export_pythae
from latentmill.cli import app
from latentmill.errors import InvalidBundle, NotFound
from workers.models import load_vae, open_bundle
from workers.posteriors import declared_prior

MAKER = Path(__file__).parent / "pythae_models.py"
PLAIN = ["VAE", "VAMP", "RAE_L2", "AE", "WAE_MMD", "VAEGAN", "IWAE", "Adversarial_AE", "VAE_IAF", "VAE_LinNF"]
REFUSED = {
    "VQVAE": "VQVAE is a VQ-VAE: each latent is an entry of its codebook.* Train a class with gaussian latents",
    "SVAE": "SVAE is a hyperspherical VAE: its latents lie on the unit sphere.* Train a class with gaussian latents",
    "PoincareVAE": "PoincareVAE has latents in a hyperbolic ball.* Train a class with gaussian latents",
    "HVAE": "HVAE moves what the encoder's gaussian gives by Hamiltonian steps.*decoder_only=True",
}
MEANT = {  # scale, prior, likelihood
    "VAE": ("log_variance", "standard_normal", "bernoulli"),
    "VAMP": ("log_variance", "mixture", "bernoulli"),
    "RAE_L2": ("none", "none", "point"),
    "AE": ("none", "none", "point"),
    "WAE_MMD": ("none", "standard_normal", "point"),
    "VAEGAN": ("log_variance", "standard_normal", "point"),
    "IWAE": ("log_variance", "standard_normal", "gaussian"),
    "Adversarial_AE": ("none", "standard_normal", "gaussian"),
    "VAE_IAF": ("log_variance", "none", "gaussian"),
    "VAE_LinNF": ("log_variance", "none", "gaussian"),
}


class ConvEncoder(nn.Module):
    """The networks of the model "conv", as a user has them, here without pythae's classes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.mean, self.log_var = nn.Linear(64, 3), nn.Linear(64, 3)

    def forward(self, x):
        h = self.net(x)
        return {"embedding": self.mean(h), "log_covariance": self.log_var(h)}


class ConvDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 64)
        self.net = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Sigmoid())

    def forward(self, z):
        return {"reconstruction": self.net(self.fc(z).reshape(z.shape[0], 4, 4, 4))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of models, made once by pythae."""
    folder = tmp_path_factory.mktemp("pythae")
    subprocess.run([sys.executable, MAKER, folder], check=True, capture_output=True, timeout=100)
    return folder


def agrees(bundle: Path, references: Path, decoded: str = "decoded_after_flow") -> None:
    """The bundle gives what pythae gave."""
    vae, wanted = load_vae(open_bundle(bundle)), np.load(references)
    z = torch.from_numpy(wanted["z"])
    assert z.shape[1:] == vae.manifest.latent.shape
    np.testing.assert_allclose(vae.decode(z.flatten(1)), wanted[decoded], atol=1e-5)
    if vae.manifest.encoder is None:
        return
    mean, std = vae.encode(torch.from_numpy(wanted["x"]))
    np.testing.assert_allclose(mean.reshape(z.shape), wanted["mean"], atol=1e-5)
    if vae.manifest.encoder.scale == "none":
        assert not std.any()
    else:
        np.testing.assert_allclose(std, wanted["std"], atol=1e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_a_folder_gives_what_pythae_gives(name, made, tmp_path):
    bundle = export_pythae(tmp_path / f"live-{name}.vae.zip", made / name)
    agrees(bundle.path, made / f"{name}.npz")
    assert bundle.manifest.name == f"live-{name}"
    live = open_bundle(made / f"live-{name}.vae.zip").manifest
    differing = {"architecture": None}  # the ids of the steps
    assert bundle.manifest.model_copy(update=differing) == live.model_copy(update=differing)
    said = (bundle.manifest.encoder.scale, bundle.manifest.prior.kind, bundle.manifest.likelihood.kind)
    assert said == MEANT[name]
    assert "pythae" not in sys.modules


@pytest.mark.parametrize("name", [*PLAIN, "conv", "resnet", "axes", "shapeless", "OwnLoss"])
def test_a_live_model_gives_what_pythae_gives(name, made):
    agrees(made / f"live-{name}.vae.zip", made / f"{name}.npz")


@pytest.mark.full
def test_the_networks_that_pythae_has_for_known_data_give_what_they_give(tmp_path):
    subprocess.run([sys.executable, MAKER, tmp_path, "benchmarks"], check=True, capture_output=True, timeout=600)
    for name in ("conv-mnist", "conv-cifar", "resnet-cifar"):
        agrees(tmp_path / f"live-{name}.vae.zip", tmp_path / f"{name}.npz")


def test_the_prior_of_a_vamp_is_its_mixture(made, tmp_path):
    bundle = open_bundle(export_pythae(tmp_path / "a.vae.zip", made / "VAMP").path)
    references = np.load(made / "VAMP.npz")
    density = declared_prior(bundle.manifest, bundle.prior)
    assert len(bundle.prior["weights"]) == 6
    np.testing.assert_allclose(
        density.log_density(references["z"].astype(np.float64)), references["log_prior"], atol=1e-4
    )


@pytest.mark.parametrize("name", ["HVAE", "VAE_IAF", "VAMP", "AE"])
def test_a_decoder_alone_takes_latents_as_pythae_decodes_them(name, made, tmp_path):
    bundle = export_pythae(tmp_path / "a.vae.zip", made / name, decoder_only=True)
    agrees(bundle.path, made / f"{name}.npz", decoded="decoded")
    wanted = {"HVAE": "standard_normal", "VAE_IAF": "standard_normal", "VAMP": "mixture", "AE": "none"}
    assert bundle.manifest.prior.kind == wanted[name]


@pytest.mark.parametrize("name", REFUSED)
def test_latents_that_no_gaussian_describes_are_refused(name, made, tmp_path):
    with pytest.raises(InvalidBundle, match=REFUSED[name]):
        export_pythae(tmp_path / "a.vae.zip", made / name)
    assert json.loads((made / "live.json").read_text())[name]["refused"]
    assert not list(tmp_path.iterdir())


def test_classes_of_the_users_own_are_taken_for_their_parents_only_where_that_holds(made):
    live = json.loads((made / "live.json").read_text())
    assert open_bundle(made / "live-OwnLoss.vae.zip").manifest.likelihood.kind == "point"
    assert any("a loss of its own" in note for note in live["OwnLoss"]["notes"])
    assert "OwnForward has a forward of its own" in live["OwnForward"]["refused"]
    assert "latentmill.export_vae" in live["OwnForward"]["refused"]


def test_pickled_networks_are_never_opened(made, tmp_path, monkeypatch):
    def opened(*given, **options):
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(pickle, "load", opened)
    with pytest.raises(
        InvalidBundle, match=r"encoder\.pkl, a pickle, which is not opened.*AutoModel\.load_from_folder"
    ):
        export_pythae(tmp_path / "a.vae.zip", made / "conv")
    with pytest.raises(InvalidBundle, match=r"decoder\.pkl"):
        export_pythae(tmp_path / "a.vae.zip", made / "conv", encoder=ConvEncoder())
    alone = export_pythae(tmp_path / "a.vae.zip", made / "conv", decoder=ConvDecoder(), decoder_only=True)
    agrees(alone.path, made / "conv.npz")
    encoder = ConvEncoder()
    before = encoder.mean.weight.clone()
    bundle = export_pythae(tmp_path / "a.vae.zip", made / "conv", encoder=encoder, decoder=ConvDecoder())
    agrees(bundle.path, made / "conv.npz")
    assert torch.equal(encoder.mean.weight, before)
    assert any("BatchNorm" in note for note in bundle.notes)
    with pytest.raises(InvalidBundle, match=r"weights of the encoder in model\.pt are not those of Sequential"):
        export_pythae(
            tmp_path / "b.vae.zip", made / "conv", encoder=nn.Sequential(nn.Linear(3, 3)), decoder=ConvDecoder()
        )


@pytest.mark.parametrize("given", [3, None, {"state": 1}])
def test_only_folders_and_models_are_taken(given, tmp_path):
    with pytest.raises(InvalidBundle, match="must be a folder or a model of pythae's"):
        export_pythae(tmp_path / "a.vae.zip", given)
    with pytest.raises(InvalidBundle, match="Linear is not a model of pythae's that Latentmill knows"):
        export_pythae(tmp_path / "a.vae.zip", nn.Linear(2, 2))


def changed(made: Path, tmp_path: Path, **config) -> Path:
    """The folder of the VAE with another configuration."""
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / "model.pt").write_bytes((made / "VAE" / "model.pt").read_bytes())
    given = json.loads((made / "VAE" / "model_config.json").read_text())
    (folder / "model_config.json").write_text(json.dumps(given | config))
    return folder


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"name": "MAFConfig"},
            r"MAF is not one of pythae's classes that Latentmill knows \(VAE, .*latentmill.export_vae",
        ),
        ({"name": 3}, "does not name a class"),
        ({"input_dim": None}, "input_dim .* must be the shape of a row, not None"),
        ({"input_dim": [2, 8, 8]}, r"weights of the decoder .* size mismatch"),
        ({"latent_dim": 0}, "latent_dim .* above 0, not 0"),
        ({"name": "VAMPConfig"}, "This VAMP has no 'pseudo_inputs.0.weight'"),
        ({"name": "VAE_IAF_Config"}, "The flow of this VAE_IAF misses"),
        ({"name": "AEConfig"}, "Unexpected key"),
    ],
)
def test_a_folder_that_is_not_what_pythae_writes_is_refused(config, says, made, tmp_path):
    with pytest.raises(InvalidBundle, match=says):
        export_pythae(tmp_path / "a.vae.zip", changed(made, tmp_path, **config))


def test_files_that_are_not_there_or_hold_something_else_are_named(made, tmp_path):
    with pytest.raises(NotFound, match=r"has no model_config\.json: give the folder of pythae's model\.save"):
        export_pythae(tmp_path / "a.vae.zip", tmp_path)
    (trained,) = (made / "training").glob("VAE_training_*")
    with pytest.raises(NotFound, match=f"{trained.name}/final_model has one"):
        export_pythae(tmp_path / "a.vae.zip", trained)
    agrees(export_pythae(tmp_path / "a.vae.zip", trained / "final_model").path, made / "VAE.npz")
    folder = changed(made, tmp_path)
    torch.save({"model_state_dict": {}, "more": Path()}, folder / "model.pt")
    with pytest.raises(InvalidBundle, match="holds something else than tensors, and is not opened"):
        export_pythae(tmp_path / "a.vae.zip", folder)
    (folder / "model.pt").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InvalidBundle, match="holds something else than tensors"):
        export_pythae(tmp_path / "a.vae.zip", folder)
    torch.save([1, 2], folder / "model.pt")
    with pytest.raises(InvalidBundle, match="no model_state_dict"):
        export_pythae(tmp_path / "a.vae.zip", folder)
    (folder / "model.pt").unlink()
    with pytest.raises(NotFound, match=r"has no model\.pt"):
        export_pythae(tmp_path / "a.vae.zip", folder)


def test_rows_may_be_said_in_the_models_order_only(made, tmp_path):
    series = {"kind": "series", "steps": 3, "features": ["a", "b", "c", "d"]}
    bundle = export_pythae(tmp_path / "a.vae.zip", made / "RAE_L2", rows=series)
    wanted = np.load(made / "RAE_L2.npz")
    vae = load_vae(open_bundle(bundle.path))
    np.testing.assert_allclose(vae.decode(torch.from_numpy(wanted["z"])).flatten(1), wanted["decoded"], atol=1e-5)
    np.testing.assert_allclose(vae.encode(torch.from_numpy(wanted["x"]).reshape(9, 3, 4))[0], wanted["mean"], atol=1e-5)
    image = {"kind": "image", "shape": [8, 8, 1], "layout": "HWC"}
    with pytest.raises(
        InvalidBundle, match=r"rows have the shape \[8, 8, 1\], but the model's input_dim is \[1, 8, 8\]"
    ):
        export_pythae(tmp_path / "a.vae.zip", made / "VAE", rows=image)
    networks = {"encoder": ConvEncoder(), "decoder": ConvDecoder()}
    with pytest.raises(InvalidBundle, match="configuration has no input_dim: give rows"):
        export_pythae(tmp_path / "a.vae.zip", made / "shapeless", **networks)
    image = {"kind": "image", "shape": [1, 8, 8]}
    agrees(
        export_pythae(tmp_path / "a.vae.zip", made / "shapeless", rows=image, **networks).path, made / "shapeless.npz"
    )
    with pytest.raises(InvalidBundle, match="/rows/image/shape"):
        export_pythae(tmp_path / "a.vae.zip", made / "VAE", rows={"kind": "image"})


def test_the_command_converts_a_folder(made, tmp_path):
    out = tmp_path / "digits.vae.zip"
    result = CliRunner().invoke(app, ["export", "pythae", str(made / "VAE"), str(out)])
    assert result.exit_code == 0, result.output
    for said in (
        "name                digits",
        "latents             3",
        "standard_normal",
        "note: Rows are taken for images",
    ):
        assert said in result.stdout
    given = ["--json", "--likelihood", '{"kind": "gaussian", "std": 0.1}', "--name", "other"]
    result = CliRunner().invoke(app, ["export", "pythae", str(made / "VAE"), str(out), *given])
    printed = json.loads(result.stdout)
    assert printed["manifest"]["name"] == "other"
    assert printed["manifest"]["likelihood"] == {"kind": "gaussian", "std": 0.1}
    assert printed["largest_difference"] <= 1e-5
    result = CliRunner().invoke(app, ["export", "pythae", str(made / "VQVAE"), str(out)])
    assert result.exit_code == 1
    assert "error: It cannot be a bundle: VQVAE is a VQ-VAE" in result.stderr


def test_an_hvae_with_bce_decodes_logits_as_pythae_does(made, tmp_path):
    folder = changed(made, tmp_path, name="HVAEConfig")
    bundle = export_pythae(tmp_path / "a.vae.zip", folder, decoder_only=True)
    assert bundle.manifest.likelihood.kind == "point"
    assert any("logits" in note for note in bundle.notes)
    agrees(bundle.path, made / "VAE.npz", decoded="decoded")
