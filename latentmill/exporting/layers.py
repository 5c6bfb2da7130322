"""torch.nn layers of the user's modules: which step each is, with the numbers it has."""

from typing import Any

from torch import Tensor, nn

from latentmill.exporting.refusal import refusal
from workers.models.architectures.sequential.layers import LAYERS

SHAPING = {"Flatten", "Unflatten"}  # understood by the shapes that they give
PASSING = {"Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"}
_ALIASES = {"UpsamplingNearest2d": "Upsample", "UpsamplingBilinear2d": "Upsample", "Softmax2d": "Softmax"}
_FORBIDDEN = {
    "return_indices": "returns indices",
    "divisor_override": "has a divisor of its own",
    "max_norm": "renormalises its weights when it runs",
}
_WAY_OUT = "A bundle may have these layers: {}."


def layer_of(module: nn.Module, path: str, part: str, line: str | None) -> tuple[str, dict[str, Any]]:
    """The step's layer and its numbers. Raises InvalidBundle for a layer that is not on the list."""
    kind = type(module).__name__
    name = _ALIASES.get(kind, kind)
    exact = getattr(nn, kind, None) is type(module)
    if not exact or (name not in LAYERS and name not in SHAPING | PASSING):
        way_out = _WAY_OUT.format(", ".join(sorted({*LAYERS, *SHAPING})))
        raise refusal(part, f"{path!r} is a {kind}, which no bundle may have", line=line, way_out=way_out)
    for attribute, what in _FORBIDDEN.items():
        if getattr(module, attribute, None):
            raise refusal(part, f"{path!r} {what} ({attribute})", line=line)
    _check_statistics(module, path, part, line)
    if name in SHAPING | PASSING:
        return name, {}
    return name, {key: _number(module, key) for key in LAYERS[name].numbers if hasattr(module, key)} | _special(module)


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
    return isinstance(value, Tensor) if key == "bias" else value


def _special(module: nn.Module) -> dict[str, Any]:
    if isinstance(module, nn.Softmax2d):
        return {"dim": 1}
    if isinstance(module, nn.Upsample) and isinstance(module.scale_factor, tuple):
        return {
            "scale_factor": module.scale_factor[0] if len(set(module.scale_factor)) == 1 else list(module.scale_factor)
        }
    return {}
