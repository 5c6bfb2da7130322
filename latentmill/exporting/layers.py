"""torch.nn layers of the user's modules: which step each is, with the numbers it has."""

from typing import Any

from torch import nn

from latentmill.exporting.refusal import refusal
from latentmill.exporting.tracing import torch_class
from workers.models.architectures.sequential.architecture import ALLOWED
from workers.models.architectures.sequential.layers import ACTIVATIONS, LAYERS
from workers.models.architectures.sequential.structure import FUNCTIONS

SHAPING = {"Flatten", "Unflatten"}  # understood by the shapes that they give
PASSING = {"Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"}
_ALIASES = {"UpsamplingNearest2d": "Upsample", "UpsamplingBilinear2d": "Upsample", "Softmax2d": "Softmax"}
_FORBIDDEN = {
    "return_indices": "returns indices",
    "divisor_override": "has a divisor of its own",
    "max_norm": "renormalises its weights when it runs",
}
_WAY_OUT = "It has these layers: {}."


def layer_of(module: nn.Module, path: str, part: str, line: str | None) -> tuple[str, dict[str, Any]]:
    """The step's layer and its numbers. Raises InvalidBundle for a layer that is not on the list."""
    kind = torch_class(module).__name__
    name = _ALIASES.get(kind, kind)
    exact = getattr(nn, kind, None) is torch_class(module)
    if not exact or (name not in LAYERS and name not in SHAPING | PASSING):
        way_out = _WAY_OUT.format(", ".join(sorted({*LAYERS, *SHAPING})))
        raise refusal(part, f"{path!r} is a {kind}, which the engine torch does not have", line=line, way_out=way_out)
    for attribute, what in _FORBIDDEN.items():
        if getattr(module, attribute, None):
            raise refusal(part, f"{path!r} {what} ({attribute})", line=line)
    _check_statistics(module, path, part, line)
    if name in SHAPING | PASSING:
        return name, {}
    return name, numbers_of(module, name) | _special(module)


def numbers_of(module: nn.Module, layer: str) -> dict[str, Any]:
    """The numbers of a step that the module has under the same names."""
    return {key: _number(module, key) for key in ALLOWED[layer].numbers if hasattr(module, key)}


def takes_any_axis(layer: str, numbers: dict[str, Any], axes: int) -> bool:
    """True where the layer may have its rows anywhere but on its own axes; `axes` counts from the rows to the end."""
    if layer in ("Linear", "RMSNorm", "LayerNorm"):
        shape = numbers.get("normalized_shape", (0,))
        return (1 if isinstance(shape, int) else len(shape)) < axes
    if layer == "PReLU":
        return bool(numbers.get("num_parameters", 1) == 1)
    return layer in {*ACTIVATIONS, *FUNCTIONS, "Embedding", "OneHot", "Clamp"}


def _check_statistics(module: nn.Module, path: str, part: str, line: str | None) -> None:
    """Rows must not see each other: a batch norm without running statistics mixes them."""
    batch_norm = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    instance_norm = isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d)
    if batch_norm and module.running_mean is None:
        raise refusal(
            part,
            f"{path!r} has no running statistics, so that each row depends on the others of its batch",
            line=line,
            way_out="Train it with track_running_stats=True.",
        )
    if instance_norm and module.track_running_stats:
        raise refusal(part, f"{path!r} is an instance norm with running statistics", line=line)


def _number(module: nn.Module, key: str) -> Any:
    value = getattr(module, key)
    return value is not None and value is not False if key == "bias" else value


def _special(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, nn.Softmax2d):
        return {"dim": 1}
    if isinstance(module, nn.Upsample) and isinstance(module.scale_factor, tuple):
        return {
            "scale_factor": module.scale_factor[0] if len(set(module.scale_factor)) == 1 else list(module.scale_factor)
        }
    return {}
