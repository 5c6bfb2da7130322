"""Decoders that return logits: found by the likelihood, and given the layer that makes probabilities of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentmill.specs import ImageRows, TableRows, VaeManifest
from workers.models.categories import has_category_axis

SLACK = 1e-3  # by which a probability may lie outside [0, 1], and a sum of probabilities beside 1
RETURNS = ("auto", "mean", "logits")
_LAYERS = {"bernoulli": "Sigmoid", "categorical": "Softmax"}


class Group(NamedTuple):
    """Values of a table's row that belong together, and what makes probabilities of them."""

    start: int
    stop: int
    layer: str  # Sigmoid, Softmax, or Identity for numbers


class TableProbabilities(nn.Module):
    """Logits of a table's row as probabilities, group by group; numbers stay as they are."""

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__()
        self.groups = tuple(groups)

    def forward(self, values: Tensor) -> Tensor:
        parts = []
        for start, stop, layer in self.groups:
            part = values[:, start:stop]
            if layer == "Sigmoid":
                part = torch.sigmoid(part)
            elif layer == "Softmax":
                part = torch.softmax(part, dim=1)
            parts.append(part)
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def last_layer(
    decoded: Tensor, manifest: VaeManifest, returns: str, wanted: Tensor | None = None
) -> tuple[nn.Module | None, list[str]]:
    """What makes means of what the decoder returns, None where these are means already; and what to say of it.

    decoded: what the decoder returned, (n, *rows.shape) or (n, *rows.shape, K), for latents of the prior and of
    examples; `wanted` are the examples, whose reconstructions come last in `decoded`.
    """
    contradiction = _contradiction(decoded, manifest)
    if returns == "mean":
        return None, [f"{contradiction} They are taken as they are, as decoder_returns says."] if contradiction else []
    layer = _layer(decoded, manifest)
    if returns == "logits":
        return layer, [f"The decoder returns logits: {_name(layer)} is appended to it.", *_half_of_range(manifest)]
    if contradiction is None:
        return None, []
    if _half_of_range(manifest):
        return None, [f"{contradiction} They are taken as they are: {_RANGE}."]
    if wanted is not None and not _reconstructs_better(layer, decoded[-len(wanted) :], wanted):
        return None, [
            f"{contradiction} They are taken as they are, for they are closer to the examples than what "
            f'{_name(layer)} makes of them; decoder_returns="logits" appends it all the same.'
        ]
    return layer, [
        f"{contradiction} So the decoder returns logits: {_name(layer)} is appended to it. If it returns means, say "
        'decoder_returns="mean".'
    ]


_RANGE = (
    "a likelihood of probabilities fits images with range [0, 1] and no mean and std, and these have others; declare "
    "the likelihood gaussian, or train on [0, 1]"
)


def _half_of_range(manifest: VaeManifest) -> list[str]:
    """A warning where probabilities are not what the rows hold: [0, 1] is then not black to white."""
    rows = manifest.rows
    if not isinstance(rows, ImageRows) or manifest.likelihood.kind == "categorical":
        return []
    if rows.range == (0.0, 1.0) and rows.mean is None:
        return []
    return [f"What the Sigmoid gives lies in [0, 1], which is not what the rows hold: {_RANGE}."]


def _contradiction(decoded: Tensor, manifest: VaeManifest) -> str | None:
    """Why the values cannot be what the likelihood means; None where they can."""
    kind = manifest.likelihood.kind
    if kind not in _LAYERS:
        return None
    said = f"The likelihood is {kind}, but decoded"
    for values, layer in _judged(decoded, manifest):
        low, high = float(values.min()), float(values.max())
        if low < -SLACK or high > 1 + SLACK:
            return f"{said} values reach from {low:.3g} to {high:.3g}, outside [0, 1]."
        if layer == "Softmax" and (off := float((values.sum(-1) - 1).abs().max())) > SLACK:
            return f"{said} categories add up to {1 + off:.3g} or {1 - off:.3g} rather than to 1."
    return None


def _judged(decoded: Tensor, manifest: VaeManifest) -> list[tuple[Tensor, str]]:
    """The values that must be probabilities, with the layer that would make them so."""
    if isinstance(manifest.rows, TableRows) and not has_category_axis(decoded, manifest):
        groups = table_groups(manifest)
        return [(decoded[:, start:stop], layer) for start, stop, layer in groups if layer != "Identity"]
    return [(decoded, _LAYERS[manifest.likelihood.kind])]


def _layer(decoded: Tensor, manifest: VaeManifest) -> nn.Module:
    if isinstance(manifest.rows, TableRows) and not has_category_axis(decoded, manifest):
        return TableProbabilities(table_groups(manifest))
    if manifest.likelihood.kind == "categorical":
        return nn.Softmax(dim=decoded.dim() - 1)
    return nn.Sigmoid()


def _name(layer: nn.Module) -> str:
    if isinstance(layer, TableProbabilities):
        return "a Softmax for each column of categories, and a Sigmoid for booleans and missing values,"
    return f"a {type(layer).__name__}"


def table_groups(manifest: VaeManifest) -> list[Group]:
    """What stands in a row of decoded values: numbers, booleans and marks of missing values, categories."""
    groups: list[Group] = []
    start = 0
    assert isinstance(manifest.rows, TableRows)
    for column in manifest.rows.columns:
        stop = start + column.width
        if column.kind == "category":
            groups.append(Group(start, stop, _LAYERS.get(manifest.likelihood.kind, "Softmax")))
        else:
            groups.append(Group(start, start + 1, "Sigmoid" if column.kind == "boolean" else "Identity"))
            if column.missing:
                groups.append(Group(start + 1, stop, "Sigmoid"))
        start = stop
    return _joined(groups)


def _joined(groups: list[Group]) -> list[Group]:
    """Neighbours that are treated alike as one, so that a table of a hundred numbers is not a hundred slices."""
    joined: list[Group] = []
    for group in groups:
        if joined and group.layer == joined[-1].layer != "Softmax":
            group = Group(joined.pop().start, group.stop, group.layer)
        joined.append(group)
    return joined


def _reconstructs_better(layer: nn.Module, decoded: Tensor, wanted: Tensor) -> bool:
    """Whether rows come out closer to `wanted` (n, *shape) with the layer than without it."""
    if decoded.shape != wanted.shape:
        return True  # categories on an axis of their own: no error can be told before they are probabilities
    with torch.no_grad():
        return float((layer(decoded) - wanted).square().mean()) < float((decoded - wanted).square().mean())
