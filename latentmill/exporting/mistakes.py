"""What is given in place of a module now and then, and what to give instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.exporting.unfit import refuse_quantiser

_SUFFIXES = {
    ".pt2": "a .pt2 archive of torch.export, which can carry pickles",
    ".onnx": "an ONNX graph",
    ".h5": "a Keras file",
    ".keras": "a Keras file",
    ".safetensors": "weights without a module",
}
_LOADING = (
    "No file is opened here, since pickles and TorchScript can run code: build the module in your own code, load its "
    "weights with load_state_dict(torch.load(path, weights_only=True)), and give it: {part}=vae.{part}"
)
_ONNX_FILES = "latentmill.export_onnx_vae(path, encoder_path, decoder_path, ...) takes ONNX files"
_PAIR = """
class Encoder(nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae
    def forward(self, x):
        return self.vae.encode(x)      # mean, log_var

class Decoder(nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae
    def forward(self, z):
        return self.vae.decode(z)"""
WHOLE_VAE = (
    "It seems to be a whole VAE: give encoder=vae.encoder and decoder=vae.decoder, or wrap it in two small modules:"
    + _PAIR
)


def check_modules(encoder: Any, decoder: Any) -> None:
    """Both are modules, and two of them."""
    check_module(decoder, "decoder")
    if encoder is not None:
        check_module(encoder, "encoder")
    if encoder is decoder:
        raise InvalidBundle(f"encoder and decoder are the same module. {WHOLE_VAE}")


def check_module(module: Any, part: str) -> None:
    """A torch module with finite float32 weights. Raises InvalidBundle otherwise, naming what was given instead."""
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise InvalidBundle(
            f"The {part} is a TorchScript module, which cannot be read; give the torch.nn.Module that it was made of."
        )
    if not isinstance(module, nn.Module):
        raise InvalidBundle(_instead_of_a_module(module, part))
    if any(kind.__name__ == "LightningModule" for kind in type(module).__mro__):
        raise InvalidBundle(
            f"The {part} is a LightningModule, which holds a whole training; give the torch.nn.Module inside it: "
            f"{part}=model.{part}. {WHOLE_VAE}"
        )
    refuse_quantiser(module, part)
    for name, weight in [*module.named_parameters(), *module.named_buffers()]:
        if nn.parameter.is_lazy(weight):
            raise InvalidBundle(f"The {part}'s {name} has no shape yet; run the module once, then export it.")
        if weight.is_meta:
            raise InvalidBundle(f"The {part}'s {name} has no values, being on the device meta: load its weights first.")
        if weight.is_floating_point() and weight.dtype != torch.float32:
            raise InvalidBundle(
                f"The {part}'s {name} is {weight.dtype}; bundles hold float32: call {part}.float() first."
            )
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise InvalidBundle(f"The {part}'s {name} has values that are NaN or infinite; take an earlier checkpoint.")


def whole_vae_hint(module: nn.Module) -> str:
    """What to say beside a refusal of a module that looks like both parts in one; empty for others."""
    both = all(callable(getattr(module, name, None)) for name in ("encode", "decode"))
    parts = all(isinstance(getattr(module, name, None), nn.Module) for name in ("encoder", "decoder"))
    return f" {WHOLE_VAE}" if both or parts else ""


def _instead_of_a_module(given: Any, part: str) -> str:
    kind = type(given)
    package = kind.__module__.partition(".")[0]
    if isinstance(given, str | Path):
        suffix = Path(given).suffix.lower()
        what = _SUFFIXES.get(suffix, "a file")
        if suffix in (".onnx", ".h5", ".keras"):
            first = "" if suffix == ".onnx" else "convert it to ONNX first (tf2onnx, or Keras' own export); "
            return f"The {part} is a path to {what}: {first}{_ONNX_FILES}."
        return f"The {part} is a path to {what}; it must be a torch.nn.Module. {_LOADING.format(part=part)}."
    if isinstance(given, Mapping):
        held = "a state_dict" if any(isinstance(value, torch.Tensor) for value in given.values()) else "a mapping"
        return (
            f"The {part} is {held} ({kind.__name__}), weights without the code that uses them; it must be a "
            f"torch.nn.Module: build it, call load_state_dict with these weights, and give the module."
        )
    if isinstance(given, torch.export.ExportedProgram):
        return f"The {part} is an ExportedProgram; give the torch.nn.Module that it was made of."
    if package in ("keras", "tensorflow", "tf_keras", "flax", "jax"):
        return f"The {part} is a {package} object ({kind.__name__}); convert it to ONNX: {_ONNX_FILES}."
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"The {part} is the class {given.__name__}, without weights; give an instance of it."
    return f"The {part} is a {kind.__name__}; it must be a torch.nn.Module."
