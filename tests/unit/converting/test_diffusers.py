"""diffusers' AutoencoderKL as bundles, which give what diffusers gives; other classes refused by what they are."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from latentmill import export_diffusers
from latentmill.cli import app
from latentmill.errors import InvalidBundle, NotFound
from workers.models import load_vae, open_bundle

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def tiny():
    """An AutoencoderKL of 15 thousand weights, with attention, as diffusers makes it."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, sample_size=16, **blocks).eval()


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


@torch.no_grad()
def agrees(bundle, vae, size=16) -> None:
    """The bundle gives what diffusers gives."""
    opened = load_vae(open_bundle(bundle))
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(5, 3, size, size, generator=generator) * 2 - 1
    z = torch.randn(5, 4, size // 2, size // 2, generator=generator)
    posterior = vae.encode(x).latent_dist
    mean, std = opened.encode(x)
    np.testing.assert_allclose(mean.flatten(1), posterior.mean.flatten(1), atol=1e-5)
    np.testing.assert_allclose(std.flatten(1), posterior.std.flatten(1), atol=1e-5)
    np.testing.assert_allclose(opened.decode(z.flatten(1)), vae.decode(z).sample, atol=1e-5)


def test_a_folder_gives_what_diffusers_gives(tiny, folder, tmp_path):
    bundle = export_diffusers(tmp_path / "faces.vae.zip", folder)
    agrees(bundle.path, tiny)
    manifest = bundle.manifest
    assert (manifest.name, manifest.engine, manifest.architecture["name"]) == ("faces", "torch", "autoencoder_kl")
    assert (manifest.rows.shape, manifest.rows.range, manifest.latent.shape) == ((3, 16, 16), (-1, 1), (4, 8, 8))
    assert any("before scaling_factor 0.18215" in note for note in bundle.notes)
    assert any("seldom images" in note for note in bundle.notes)


def test_another_size_and_half_precision_and_shards(tiny, folder, tmp_path):
    bundle = export_diffusers(tmp_path / "a.vae.zip", folder, image_size=24)
    assert bundle.manifest.latent.shape == (4, 12, 12)
    agrees(bundle.path, tiny, size=24)
    tiny.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*-of-*.safetensors"))) > 1
    agrees(export_diffusers(tmp_path / "a.vae.zip", tmp_path / "shards").path, tiny)
    halves = {name: value.half() for name, value in load_file(folder / WEIGHTS).items()}
    (folder / WEIGHTS).unlink()
    save_file(halves, folder / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(NotFound, match=r"but the variant 'fp16': give variant='fp16'"):
        export_diffusers(tmp_path / "a.vae.zip", folder)
    bundle = export_diffusers(tmp_path / "a.vae.zip", folder, variant="fp16")
    assert any("stored as float16 became float32" in note for note in bundle.notes)


def test_the_names_of_older_weights_are_known(tiny, folder, tmp_path):
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(folder / WEIGHTS)
    renamed = {}
    for name, value in weights.items():
        for new, old in former.items():
            name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = value
    assert renamed.keys() != weights.keys()
    save_file(renamed, folder / WEIGHTS)
    agrees(export_diffusers(tmp_path / "a.vae.zip", folder).path, tiny)


@pytest.mark.full
def test_onnx_needs_no_diffusers_in_the_service(tiny, folder, tmp_path):
    bundle = export_diffusers(tmp_path / "a.vae.zip", folder, engine="onnx")
    assert bundle.manifest.engine == "onnx"
    agrees(bundle.path, tiny)


def test_of_a_pipeline_the_autoencoder_is_taken_when_it_is_named(tiny, folder, tmp_path):
    pipeline = tmp_path / "pipeline"
    shutil.move(folder, pipeline / "vae")
    (pipeline / "model_index.json").write_text("{}")
    with pytest.raises(NotFound, match=r"it is a pipeline. Its autoencoder is in vae: give .*/vae, or subfolder='vae'"):
        export_diffusers(tmp_path / "a.vae.zip", pipeline)
    agrees(export_diffusers(tmp_path / "a.vae.zip", pipeline, subfolder="vae").path, tiny)


def test_pickled_weights_are_refused(folder, tmp_path):
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    with pytest.raises(NotFound, match="save_pretrained"):
        export_diffusers(tmp_path / "a.vae.zip", folder)
    torch.save(weights, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(InvalidBundle, match=r"\.bin, a pickle, which is not opened.*safe_serialization=True"):
        export_diffusers(tmp_path / "a.vae.zip", folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("VQModel", "VQModel is a VQ-VAE: each latent is the nearest entry of its codebook"),
        ("AutoencoderTiny", "AutoencoderTiny is deterministic.*latentmill.export_vae"),
        ("AutoencoderDC", "AutoencoderDC is deterministic"),
        ("AsymmetricAutoencoderKL", "made for inpainting"),
        ("ConsistencyDecoderVAE", "a diffusion model, which draws noise"),
        ("AutoencoderKLCogVideoX", "an autoencoder of video"),
        ("AutoencoderKLTemporalDecoder", "an autoencoder of video"),
        ("AutoencoderOobleck", "an autoencoder of sound"),
        ("UNet2DConditionModel", "is not a class of diffusers' that can be converted"),
        (None, "names no class"),
    ],
)
def test_other_classes_are_refused_by_what_they_are(name, says, folder, tmp_path):
    (folder / "config.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(InvalidBundle, match=says):
        export_diffusers(tmp_path / "a.vae.zip", folder)
    assert not (tmp_path / "a.vae.zip").exists()


@pytest.mark.parametrize(
    ("config", "options", "says"),
    [
        ({}, {"image_size": 33}, "Images of 33 x 33 do not go through: height and width must be multiples of 2"),
        ({}, {"image_size": (16, "a")}, "one or two whole numbers"),
        ({"out_channels": 1}, {}, "takes 3 channels and gives 1"),
        ({"block_out_channels": [8, 16]}, {}, "diffusers cannot load"),
        ({}, {"engine": "tflite"}, "engine must be auto, torch or onnx"),
    ],
)
def test_what_does_not_fit_is_said(config, options, says, folder, tmp_path):
    given = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(given | config))
    with pytest.raises(InvalidBundle, match=says):
        export_diffusers(tmp_path / "a.vae.zip", folder, **options)


def test_a_live_model_is_to_be_saved_first(tiny, tmp_path):
    with pytest.raises(InvalidBundle, match="takes the folder of a model, not AutoencoderKL: save it first"):
        export_diffusers(tmp_path / "a.vae.zip", tiny)


def test_files_that_lead_elsewhere_or_hold_something_else_are_refused(folder, tmp_path):
    (folder / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(InvalidBundle, match="is not a file of safetensors"):
        export_diffusers(tmp_path / "a.vae.zip", folder)
    index = folder / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    with pytest.raises(InvalidBundle, match="no weight_map of files beside it"):
        export_diffusers(tmp_path / "a.vae.zip", folder)
    index.write_text(json.dumps({"weight_map": {"a": "other.safetensors"}}))
    with pytest.raises(NotFound, match=r"other\.safetensors is not there"):
        export_diffusers(tmp_path / "a.vae.zip", folder)


def test_the_command_converts_a_folder(folder, tmp_path):
    out = tmp_path / "faces.vae.zip"
    result = CliRunner().invoke(app, ["export", "diffusers", str(folder), str(out), "--image-size", "8", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["manifest"]["latent"] == {"shape": [4, 4, 4]}
    (folder / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    result = CliRunner().invoke(app, ["export", "diffusers", str(folder), str(out)])
    assert result.exit_code == 1
    assert "error: It cannot be a bundle: VQModel is a VQ-VAE" in result.stderr
