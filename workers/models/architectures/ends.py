"""The ends that the named architectures share: labels joined to the input, and heads as the manifest declares them."""

from typing import Any

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.architectures.sequential.numbers import Check

Steps = list[dict[str, Any]]


def join_labels(manifest: VaeManifest) -> Steps:
    """Steps that put the labels, as one-hot values, beside the flat value before them."""
    if manifest.labels is None:
        return []
    flat = {"id": "flat", "layer": "Flatten"}
    if manifest.labels.encoding == "one_hot":
        return [flat, {"id": "labelled", "layer": "Concat", "inputs": ["flat", "y"]}]
    one_hot = {"id": "one_hot", "layer": "OneHot", "inputs": ["y"], "classes": len(manifest.labels.classes)}
    return [flat, one_hot, {"id": "labelled", "layer": "Concat", "inputs": ["flat", "one_hot"]}]


def label_planes(manifest: VaeManifest, sides: tuple[int, ...]) -> Steps:
    """Steps that put the labels beside the channels before them: a plane of `sides` for each class, as `planes`."""
    if manifest.labels is None:
        return []
    classes = len(manifest.labels.classes)
    one_hot: Steps = []
    if manifest.labels.encoding == "index":
        one_hot = [{"id": "one_hot", "layer": "OneHot", "inputs": ["y"], "classes": classes}]
    return [
        {"id": "features", "layer": "Identity"},
        *one_hot,
        {"id": "points", "layer": "Reshape", "inputs": ["one_hot" if one_hot else "y"], "shape": [classes, 1, 1]},
        {"id": "labels", "layer": "Expand", "shape": [classes, *sides]},
        {"id": "planes", "layer": "Concat", "inputs": ["features", "labels"], "dim": 1},
    ]


def label_width(manifest: VaeManifest) -> int:
    return len(manifest.labels.classes) if manifest.labels is not None else 0


def heads(manifest: VaeManifest, before: str, width: int) -> tuple[Steps, list[str]]:
    """Linear heads on the value `before` of `width` values: `mean` and `scale`, or one called `heads`."""
    declared, size = manifest.encoder, manifest.latent.size
    if declared is None:
        raise InvalidBundle("The field encoder is missing.", pointer="/encoder")
    if declared.scale == "none" or declared.head == "pair":
        names = ["mean"] if declared.scale == "none" else ["mean", "scale"]
        return [linear(name, width, size, before) for name in names], names
    steps = [linear("heads", width, 2 * size, before)]
    return steps, ["heads"]


def linear(step_id: str, in_features: int, out_features: int, before: str | None = None) -> dict[str, Any]:
    step = {"id": step_id, "layer": "Linear", "in_features": in_features, "out_features": out_features}
    return step if before is None else {**step, "inputs": [before]}


def checked(numbers: dict[str, Any], name: str, architecture: str, checks: dict[str, tuple[Check, Any]]) -> Any:
    """The number called `name`, or its default. Raises InvalidBundle with a pointer to it."""
    check, default = checks[name]
    try:
        return check(numbers.get(name, default))
    except ValueError as error:
        raise InvalidBundle(f"{name} of {architecture} must be {error}.", pointer=f"/architecture/{name}") from error


def refuse_unknown(numbers: dict[str, Any], architecture: str, known: set[str], manifest: VaeManifest) -> None:
    if unknown := sorted(set(numbers) - known):
        raise InvalidBundle(
            f"{architecture} has no number {unknown[0][:64]!r}; it takes {', '.join(sorted(known))}.",
            pointer=f"/architecture/{unknown[0][:64]}",
        )
    if manifest.likelihood.kind == "gaussian" and manifest.likelihood.std == "learned":
        raise InvalidBundle(
            f"{architecture} learns no std; take the architecture sequential, whose decoder may return (x, std).",
            pointer="/likelihood/std",
        )
