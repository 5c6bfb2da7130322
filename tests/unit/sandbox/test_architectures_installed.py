"""A package with an architecture, installed as an operator would, and diffusers' AutoencoderKL: inspected confined."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PACKAGE = '''
"""Sines of weighted latents, as many as `width` says."""

import torch
from torch import nn

from latentmill.errors import InvalidBundle


class Sines(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, size))

    def forward(self, latents, labels=None):
        return (torch.sin(latents @ self.weight.t()),)


def sines(numbers, manifest, limits):
    """{"width": 1 to 1,000}."""
    width = numbers.get("width")
    if type(width) is not int or not 1 <= width <= 1_000:
        raise InvalidBundle("width of sines must be a whole number from 1 to 1,000.", pointer="/architecture/width")
    return None, Sines(width, manifest.latent.size)
'''

SCRIPT = """
import hashlib, json, sys, zipfile
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models import DEFAULT_LIMITS, load_vae, open_bundle
from workers.models.architectures.registry import build
from workers.sandbox.bounds import SandboxBounds
from workers.sandbox.requests import InspectRequest
from workers.sandbox.sandbox import Sandbox

folder = Path(sys.argv[1])
folder.joinpath("box").mkdir()
sandbox = Sandbox(folder / "torch", preload=False)


def inspected(architecture, weights=None, **changes):
    manifest = {"schema": 1, "name": "a", "engine": "torch", "latent": {"shape": [2]},
                "rows": {"kind": "tensor", "shape": [3]}, "architecture": architecture} | changes
    path = folder / "a.vae.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vae.json", json.dumps(manifest))
        archive.writestr("weights.safetensors", save(weights or weights_of(manifest)))
    request = InspectRequest(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), folder=folder / "box",
                             threads=1, limits=asdict(DEFAULT_LIMITS), bounds=SandboxBounds())
    try:
        return path, sandbox.inspect(request, check=lambda: None).measured.execution.versions
    except InvalidBundle as error:
        return path, error.detail


def weights_of(manifest):
    networks = build(VaeManifest.model_validate(manifest), DEFAULT_LIMITS)
    return {f"decoder.{name}": torch.rand(weight.shape) / 8 for name, weight in networks.decoder.state_dict().items()}


WEIGHTS = {"decoder.weight": torch.ones(3, 2)}
path, versions = inspected({"name": "sines", "width": 3}, WEIGHTS)
found = {"versions": versions, "rows": load_vae(open_bundle(path)).decode(torch.ones(4, 2)).tolist()}
found["too wide"] = inspected({"name": "sines", "width": 10**9}, WEIGHTS)[1]
found["broken"] = inspected({"name": "broken"}, WEIGHTS)[1]
found["twice"] = inspected({"name": "twice"}, WEIGHTS)[1]
kl = {"name": "autoencoder_kl", "block_out_channels": [4, 4], "norm_num_groups": 2, "latent_channels": 2,
      "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
found["kl"] = inspected(kl, latent={"shape": [2, 4, 4]}, rows={"kind": "image", "shape": [3, 8, 8]})[1]
sandbox.close()
print(json.dumps(found))
"""


def install(site: Path, package: str, version: str, points: dict[str, str]) -> None:
    """What pip leaves of a package: its metadata, beside its code."""
    metadata = site / f"{package.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[latentmill.architectures]", *lines, ""]))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a worker's sandbox says in an environment that has the packages."""
    folder = tmp_path_factory.mktemp("installed")
    venv.EnvBuilder(symlinks=True).create(folder / "venv")
    [site] = folder.glob("venv/lib/python*/site-packages")
    ours = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "ours.pth").write_text("\n".join(ours))
    (site / "our_sines.py").write_text(PACKAGE)
    (site / "our_broken.py").write_text("import a_library_that_is_not_there\n")
    install(site, "our-sines", "1.2", {"sines": "our_sines:sines", "broken": "our_broken:make", "twice": "our_a:make"})
    install(site, "others", "2.0", {"twice": "our_b:make"})
    command = [str(folder / "venv" / "bin" / "python"), "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_an_installed_architecture_is_inspected_and_decodes(found):
    assert found["versions"]["our-sines"] == "1.2"
    [rows] = {tuple(row) for row in found["rows"]}
    assert rows == pytest.approx([0.909297] * 3)  # the sine of 2


def test_its_own_bounds_and_what_is_wrong_with_it_are_told(found):
    assert found["too wide"] == "width of sines must be a whole number from 1 to 1,000."
    assert "'broken' of the package our-sines cannot be loaded here (ModuleNotFoundError" in found["broken"]
    assert "more than one architecture 'twice' here, of the packages others and our-sines" in found["twice"]


def test_diffusers_is_loaded_where_the_bundle_is_parsed(found):
    assert found["kl"]["diffusers"].startswith("0.")
