"""What a user uploads for a shape and what the service must deliver for it, computed without the service's codecs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.shapes.shape import Shape
from tests.shapes.typed import as_frame, typed_columns


def uploaded(shape: Shape, number: int, seed: int) -> Any:
    """The rows that `shape.rows_to_encode` gives the modules, in the units of the data: an array, or a DataFrame."""
    if shape.rows["kind"] == "table":
        return as_frame(typed_columns(shape.rows, number, seed))
    values = shape.rows_to_encode(number, seed)
    return in_units(shape, values).astype(np.float32)


def in_units(shape: Shape, rows: Tensor) -> NDArray[np.float64]:
    """Rows of images, series and tensors as their owner knows them: times std, plus mean."""
    values = rows.double().numpy()
    if "mean" not in shape.rows:
        return values
    mean, std = np.array(shape.rows["mean"]), np.array(shape.rows["std"])
    if shape.rows["kind"] == "image" and shape.rows.get("layout", "CHW") == "CHW":
        mean, std = mean[:, None, None], std[:, None, None]
    return values * std + mean


def differences(shape: Shape, delivered: NDArray[Any], missing: NDArray[Any] | None, decoded: Tensor) -> list[float]:
    """How far delivered rows are from what the module decodes, relative to the largest value where that is above 1."""
    if shape.rows["kind"] != "table":
        return [difference(delivered, in_units(shape, decoded))]
    values, found, start = decoded.double().numpy(), [], 0
    for column in shape.rows["columns"]:
        width = len(column.get("categories", [0])) + column.get("missing", False)
        marked = missing[column["name"]] if column.get("missing") else np.zeros(len(values), bool)
        found.append(_column(column, delivered[column["name"]], marked, values[:, start : start + width]))
        start += width
    return found


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference, relative to the largest value where that is above 1; infinite for other shapes."""
    ours, theirs = (np.asarray(values, np.float64) for values in (ours, theirs))
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return float("inf")
    return float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))


def _column(
    column: dict[str, Any], typed: NDArray[Any], missing: NDArray[np.bool_], values: NDArray[np.float64]
) -> float:
    """A column of typed values against its decoded ones: 0 or infinite for what is chosen, relative for numbers."""
    if column["kind"] == "category":
        names = np.array([*column["categories"], *([""] if column.get("missing") else [])])
        chosen = values.argmax(axis=1)
        return _equal(typed, names[chosen]) + _equal(missing, names[chosen] == "")
    wrong = _equal(missing, values[:, 1] > 0.5) if column.get("missing") else 0.0
    if column["kind"] == "boolean":
        return wrong + _equal(typed, values[:, 0] > 0.5)
    numbers = np.clip(values[:, 0] * column["std"] + column["mean"], column.get("minimum"), column.get("maximum"))
    if column["kind"] == "integer":
        return wrong + _equal(typed, np.rint(numbers).astype(int))
    if missing.all():
        return float("inf")  # nothing would be compared
    return wrong + difference(typed[~missing], numbers[~missing])


def _equal(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return 0.0 if np.array_equal(ours, theirs) else float("inf")


def seen_apart(rows: Tensor) -> bool:
    """Whether rows differ enough for a comparison to fail where they are exchanged."""
    return float(rows.flatten(1).std(dim=0).max()) > 0.01 and bool(torch.isfinite(rows).all())
