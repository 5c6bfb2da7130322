"""The architecture `autoencoder_kl` against diffusers' own AutoencoderKL, and bundles of it that are wrong."""

import json
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models import DEFAULT_LIMITS, load_vae, open_bundle
from workers.models.architectures import autoencoder_kl
from workers.models.architectures.registry import build
from workers.models.shapes import check_shapes

CONFIG = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
    "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
    "latent_channels": 3,
    "norm_num_groups": 4,
    "act_fn": "silu",
    "sample_size": 16,
    "scaling_factor": 0.5,
}
HEADS = {"scale": "log_variance", "head": "chunked"}
# As Stable Diffusion's.
LARGE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}


@pytest.fixture(scope="module", autouse=True)
def diffusers():
    """diffusers, whose import warns of what it has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.models.autoencoders import autoencoder_kl as module

        return module


def manifest_of(config=CONFIG, **changes) -> dict:
    manifest = {
        "schema": 1,
        "name": "kl",
        "engine": "torch",
        "latent": {"shape": [3, 8, 8]},
        "rows": {"kind": "image", "shape": [3, 16, 16], "range": [-1, 1]},
        "encoder": HEADS,
        "architecture": {"name": "autoencoder_kl", **config},
    }
    return {**manifest, **changes}


def bundle_of(manifest: dict, model, path: Path) -> Path:
    """The bundle of a diffusers model: its own names, behind the part that uses them."""
    parts = {"encoder": "encoder", "quant_conv": "encoder", "decoder": "decoder", "post_quant_conv": "decoder"}
    weights = {f"{parts[name.partition('.')[0]]}.{name}": weight for name, weight in model.state_dict().items()}
    if manifest["encoder"] is None:
        weights = {name: weight for name, weight in weights.items() if name.startswith("decoder.")}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(manifest))
        archive.writestr("weights.safetensors", save(weights))
    return path


@pytest.mark.parametrize(
    ("config", "encoder"),
    [
        (CONFIG, HEADS),
        (CONFIG, {**HEADS, "head": "pair"}),
        ({**CONFIG, "use_quant_conv": False, "mid_block_add_attention": False, "layers_per_block": 2}, HEADS),
        ({**CONFIG, "use_post_quant_conv": False, "act_fn": "gelu"}, {"scale": "none"}),
        (CONFIG, None),
    ],
    ids=["chunked", "pair", "without quant_conv", "mean alone", "decoder alone"],
)
def test_it_does_what_diffusers_does(config, encoder, diffusers, tmp_path):
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(**config).eval()
    with torch.no_grad():
        model.encoder.conv_out.weight *= 100  # log variances beyond both ends
    manifest = manifest_of(config, encoder=encoder)
    vae = load_vae(open_bundle(bundle_of(manifest, model, tmp_path / "a.zip")))
    z, x = torch.randn(5, 3, 8, 8), 2 * torch.rand(5, 3, 16, 16) - 1
    with torch.no_grad():
        torch.testing.assert_close(vae.decode(z.flatten(1)), model.decode(z).sample)
        if encoder is None:
            return
        posterior = model.encode(x).latent_dist
    mean, std = vae.encode(x)
    torch.testing.assert_close(mean, posterior.mean.flatten(1))
    if encoder["scale"] == "none":
        assert not std.any()
        return
    torch.testing.assert_close(std, posterior.std.flatten(1))
    assert float(std.max()) > 1e4 > 1e-6 > float(std.min())


@pytest.mark.parametrize(
    ("config", "changes", "pointer", "says"),
    [
        ({"block_out_channels": []}, {}, "/architecture/block_out_channels", "a list of 1 to 8"),
        ({"block_out_channels": [2**20, 16]}, {}, "/architecture/block_out_channels", "from 1 to 4,096"),
        ({"layers_per_block": 10**6}, {}, "/architecture/layers_per_block", "from 1 to 16"),
        ({"down_block_types": ["os.system"] * 2}, {}, "/architecture/down_block_types", "each one of Down"),
        ({"up_block_types": ["UpDecoderBlock2D"]}, {}, "/architecture/up_block_types", "each of the 2"),
        ({"act_fn": "lambda x: x"}, {}, "/architecture/act_fn", "one of silu"),
        ({"norm_num_groups": 3}, {}, "/architecture", "refuses these numbers"),
        ({"_class_name": "AutoencoderKL"}, {}, "/architecture/_class_name", "no number '_class_name'"),
        ({"scaling_factor": "big"}, {}, "/architecture/scaling_factor", "a number from"),
        ({"latents_mean": [0.0, "a"]}, {}, "/architecture/latents_mean", "each a number"),
        ({"latent_channels": 4}, {}, "/latent/shape", "have the shape [4, 8, 8]"),
        ({"out_channels": 1}, {}, "/architecture/out_channels", "rows have 3 channels"),
        ({}, {"rows": {"kind": "image", "shape": [3, 15, 16]}}, "/rows/shape", "sides that 2 divides"),
        ({}, {"rows": {"kind": "tensor", "shape": [3, 16, 16]}}, "/rows", "images of layout CHW"),
        ({}, {"encoder": {"scale": "std", "head": "chunked"}}, "/encoder", "a mean and a log variance"),
        ({}, {"encoder": {"scale": "log_variance", "head": "interleaved"}}, "/encoder", '"head": "chunked"'),
        ({}, {"labels": {"classes": ["a", "b"]}}, "/labels", "takes no labels"),
    ],
)
def test_numbers_that_are_wrong_are_named(config, changes, pointer, says):
    with pytest.raises(InvalidBundle) as refusal:
        build(VaeManifest.model_validate(manifest_of({**CONFIG, **config}, **changes)), DEFAULT_LIMITS)
    assert says in refusal.value.detail
    assert refusal.value.errors[0].pointer == pointer


def sized(side: int, config=LARGE) -> VaeManifest:
    rows = {"kind": "image", "shape": [3, side, side], "range": [-1, 1]}
    latent = {"shape": [4, side // 8, side // 8]}
    return VaeManifest.model_validate(manifest_of(config, rows=rows, latent=latent))


def test_the_size_that_people_have_fits_the_bounds():
    networks = build(sized(256), DEFAULT_LIMITS)
    assert sum(weight.numel() for weight in networks.decoder.parameters()) > 49_000_000
    assert check_shapes(networks, sized(256), DEFAULT_LIMITS) == 256 * 256 * 256


@pytest.mark.parametrize(
    ("config", "side", "says"),
    [
        (LARGE, 2048, "multiplications"),
        # Over the 512 x 512 places of the first block: 2**36 pairs of them for each of few values.
        ({**LARGE, "block_out_channels": [8] * 4, "norm_num_groups": 4,
          "up_block_types": ["UpDecoderBlock2D"] * 3 + ["AttnUpDecoderBlock2D"]}, 512, "multiplications"),
    ],
)  # fmt: skip
def test_a_row_that_would_take_hours_is_refused_unrun(config, side, says):
    manifest = sized(side, config)
    with pytest.raises(InvalidBundle, match=says):
        check_shapes(build(manifest, DEFAULT_LIMITS), manifest, DEFAULT_LIMITS)


def test_without_diffusers_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(autoencoder_kl, "find_spec", lambda name: None)
    with pytest.raises(InvalidBundle, match="pip install diffusers where the workers run"):
        build(VaeManifest.model_validate(manifest_of()), DEFAULT_LIMITS)
