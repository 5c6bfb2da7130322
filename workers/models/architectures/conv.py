"""The architecture `conv`: strided convolutions and hidden layers, mirrored (Burgess et al. 2018, arXiv:1804.03599)."""

from itertools import pairwise
from typing import Any

from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.specs import ImageRows, VaeManifest
from workers.models.architectures.ends import (
    Steps,
    checked,
    heads,
    join_labels,
    label_width,
    linear,
    refuse_unknown,
)
from workers.models.architectures.mlp import ACTIVATIONS, OUTPUTS
from workers.models.architectures.sequential.architecture import sequential
from workers.models.architectures.sequential.numbers import choice, either, integer, integers, nothing
from workers.models.limits import BundleLimits

CHECKS = {
    "channels": (integers(range(1, 13), 1, 65_536), None),
    "hidden": (integers(range(1, 65), 1, 2**20), (256, 256)),
    "resize": (either(nothing, integer(2, 16_384)), None),
    "activation": (choice(*ACTIVATIONS), "relu"),
    "output": (choice(*OUTPUTS), "sigmoid"),
}
_HALVING = {"kernel_size": 4, "stride": 2, "padding": 1}


def conv(numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits) -> tuple[nn.Module | None, nn.Module]:
    """{"channels": [32, 32, 32], "hidden": [256, 256], "resize": 32}: each convolution (4x4) halves the picture.

    `resize` brings rows of another size to that square, and back (bilinear). Weights: conv<i> and hidden<i> in
    both, encoder.mean, encoder.scale (or encoder.heads), decoder.spread.
    """
    refuse_unknown(numbers, "conv", set(CHECKS), manifest)
    rows = manifest.rows
    if not isinstance(rows, ImageRows) or rows.layout != "CHW":
        raise InvalidBundle("conv is for images of layout CHW; others take sequential.", pointer="/rows")
    given = {name: checked(numbers, name, "conv", CHECKS) for name in CHECKS}
    height, width = (given["resize"],) * 2 if given["resize"] else rows.shape[1:]
    factor = 2 ** len(given["channels"])
    if height % factor or width % factor:
        raise InvalidBundle(
            f"{len(given['channels'])} halvings need sides that {factor} divides, not {height} x {width}: set resize.",
            pointer="/architecture/resize",
        )
    smallest = (given["channels"][-1], height // factor, width // factor)
    networks: dict[str, Any] = {"decoder": _decoder(given, manifest, rows, smallest)}
    if manifest.encoder is not None:
        networks["encoder"] = _encoder(given, manifest, rows, smallest)
    return sequential(networks, manifest, limits)


def _encoder(
    given: dict[str, Any], manifest: VaeManifest, rows: ImageRows, smallest: tuple[int, ...]
) -> dict[str, Any]:
    steps: Steps = [_resized("resized", given["resize"])] if given["resize"] else []
    channels = (rows.channels, *given["channels"])
    for index, (fewer, more) in enumerate(pairwise(channels)):
        steps.append({"id": f"conv{index}", "layer": "Conv2d", "in_channels": fewer, "out_channels": more, **_HALVING})
        steps.append({"id": f"halved{index}", "layer": ACTIVATIONS[given["activation"]]})
    steps += [{"id": "features", "layer": "Flatten"}, *join_labels(manifest)]
    features = smallest[0] * smallest[1] * smallest[2] + label_width(manifest)
    steps += _hidden(features, given["hidden"], given["activation"])
    ends, outputs = heads(manifest, f"activation{len(given['hidden']) - 1}", given["hidden"][-1])
    return {"steps": [*steps, *ends], "outputs": outputs}


def _decoder(given: dict[str, Any], manifest: VaeManifest, rows: ImageRows, smallest: tuple[int, ...]) -> Steps:
    hidden, activation = given["hidden"][::-1], given["activation"]
    steps: Steps = [{"id": "given", "layer": "Flatten"}, *join_labels(manifest)]
    steps += _hidden(manifest.latent.size + label_width(manifest), hidden, activation)
    steps += [
        linear("spread", hidden[-1], smallest[0] * smallest[1] * smallest[2]),
        {"id": "spread_activation", "layer": ACTIVATIONS[activation]},
        {"id": "smallest", "layer": "Reshape", "shape": list(smallest)},
    ]
    channels = (*given["channels"][::-1], rows.channels)
    for index, (more, fewer) in enumerate(pairwise(channels)):
        last = index == len(given["channels"]) - 1
        steps.append(
            {"id": f"conv{index}", "layer": "ConvTranspose2d", "in_channels": more, "out_channels": fewer, **_HALVING}
        )
        steps.append({"id": f"doubled{index}", "layer": OUTPUTS[given["output"]] if last else ACTIVATIONS[activation]})
    if given["resize"]:
        steps.append(_resized("rows", list(rows.shape[1:])))
    return steps


def _hidden(width: int, hidden: tuple[int, ...], activation: str) -> Steps:
    steps: Steps = []
    for index, units in enumerate(hidden):
        steps += [
            linear(f"hidden{index}", width, units),
            {"id": f"activation{index}", "layer": ACTIVATIONS[activation]},
        ]
        width = units
    return steps


def _resized(step_id: str, size: int | list[int]) -> dict[str, Any]:
    square = [size, size] if isinstance(size, int) else size
    return {"id": step_id, "layer": "Upsample", "size": square, "mode": "bilinear", "align_corners": False}
