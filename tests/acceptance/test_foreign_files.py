"""What users try first, before they know what a bundle is: the answer says what it is, why not, and what to do."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from latentmill import Client
from latentmill.errors import InvalidBundle
from latentmill.resources.resource import Resource
from tests.unit.onnx.made_graphs import decoder

MODULES = "latentmill.export_vae"
GRAPHS = "latentmill.export_onnx_vae"


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def torch_script() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own word on TorchScript; users still have it
        torch.jit.save(torch.jit.trace(network(), torch.zeros(1, 2)), file)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    """A zip whose members have these names, and nothing of interest in them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file.getvalue()


def weights_alone() -> bytes:
    """With a header of 640 bytes, whose length begins as a pickle does."""
    content = save({"decoder.weight": torch.ones(3, 2)})
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return (640).to_bytes(8, "little") + json.dumps(header).encode().ljust(640) + torch.ones(6).numpy().tobytes()


PT2 = ("data/weights/weight_0", "data/sample_inputs/model.pt", "models/model.json", "archive_format")
SAVED_MODEL = ("vae/saved_model.pb", "vae/variables/variables.index", "vae/variables/variables.data-00000-of-00001")
FOREIGN: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "module.pt": (lambda: saved(network()), ("data.pkl", "can run code", MODULES)),
    "checkpoint.pt": (lambda: saved({"epoch": 3, "model": network().state_dict()}), ("data.pkl", "run code", MODULES)),
    "old.pth": (
        lambda: saved(network().state_dict(), _use_new_zipfile_serialization=False),
        ("pickle", "can run code", MODULES),
    ),
    "script.pt": (torch_script, ("TorchScript", "carries code", MODULES)),
    "program.pt2": (lambda: zipped(*(f"program/{name}" for name in PT2)), (".pt2", "pickles", MODULES)),
    "weights.h5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(2048), ("HDF5", "Keras", GRAPHS)),
    "vae.keras": (lambda: zipped("metadata.json", "config.json", "model.weights.h5"), ("Keras", "ONNX", GRAPHS)),
    "saved_model.zip": (lambda: zipped(*SAVED_MODEL), ("TensorFlow", "ONNX", GRAPHS)),
    "model.safetensors": (weights_alone, ("safetensors", "do not say how they are computed with", MODULES)),
    "decoder.onnx": (lambda: decoder().SerializeToString(), ("ONNX", "what rows and latents are", GRAPHS)),
    "graphs.zip": (lambda: zipped("encoder.onnx", "decoder.onnx"), ("no vae.json", GRAPHS)),
    "two files.zip": (
        lambda: zipped("vae.json", "decoder.onnx", "decoder.onnx.data"),
        ("external data", "any file", "external_data=False"),
    ),
    "pythae.zip": (
        lambda: zipped("final_model/model_config.json", "final_model/model.pt", "final_model/environment.json"),
        ("pythae", "latentmill export pythae"),
    ),
    "diffusers.zip": (
        lambda: zipped("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
        ("diffusers", "latentmill export diffusers"),
    ),
    "folder.zip": (lambda: zipped("vae/vae.json", "vae/weights.safetensors"), ("a folder", "without their folder")),
    "notes.txt": (lambda: b"import torch\n" * 10, ("no zip file", MODULES)),
    "empty.zip": (zipped, ("no vae.json", MODULES)),
}


@pytest.fixture(scope="module")
def answers(stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Resource]:
    """All of them posted before any is waited for."""
    client = Client(url=stack.url, api_key=stack.api_key)
    folder = tmp_path_factory.mktemp("foreign")
    posted = {}
    for name, (make, _) in FOREIGN.items():
        path = folder / name
        path.write_bytes(make())
        posted[name] = client.models.add(path)
    return posted


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_named_and_its_owner_told_what_to_do(name: str, answers: dict[str, Resource]) -> None:
    with pytest.raises(InvalidBundle) as refused:
        answers[name].wait()
    for words in FOREIGN[name][1]:
        assert words in refused.value.detail
    assert answers[name].refresh().state == "rejected"
