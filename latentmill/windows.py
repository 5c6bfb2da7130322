"""`series_windows`: the rows of a series model from long series, as they are uploaded and as the model is trained."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from latentmill.specs import SeriesRows
from latentmill.tables.frames import as_frame

Floats = NDArray[np.float32]
COARSEST = 0.01  # of a feature's std: what neighbouring values of float32 may lie apart


class SeriesWindows:
    """`rows` for `export_vae(rows=...)`, `windows` for `datasets.add`, `encoded` for the training of the VAE."""

    def __init__(self, spec: SeriesRows, windows: Floats, stride: int) -> None:
        self._spec, self.windows, self._stride = spec, windows, stride
        self._mean, self._std = np.array(spec.mean, np.float64), np.array(spec.std, np.float64)

    @property
    def rows(self) -> dict[str, Any]:
        """What the bundle says of its rows, as JSON: steps, features, and by feature mean and std."""
        return self._spec.model_dump(mode="json")

    @cached_property
    def encoded(self) -> Floats:
        """(n, steps, features) float32: (windows - mean) / std, as the service gives them to the encoder."""
        return self.encode(self.windows)

    def encode(self, windows: Any) -> Floats:
        """Windows (n, steps, features) in the features' own units, standardised: what the VAE is trained on."""
        return ((self._checked(windows).astype(np.float64) - self._mean) / self._std).astype(np.float32)

    def decode(self, values: Any) -> Floats:
        """What the VAE gives, (n, steps, features), in the features' own units: as a job delivers it."""
        return (self._checked(values).astype(np.float64) * self._std + self._mean).astype(np.float32)

    def _checked(self, windows: Any) -> Floats:
        array = np.asarray(windows, np.float32)
        if array.ndim != 3 or array.shape[1:] != self._spec.shape:
            shape = ", ".join(map(str, self._spec.shape))
            raise InvalidDataset(f"The windows have the shape {array.shape}; they are (n, {shape}): steps, features")
        return array

    def __repr__(self) -> str:
        names = ", ".join(self._spec.features[:6]) + (", ..." if len(self._spec.features) > 6 else "")
        return f"{len(self.windows):,} windows of {self._spec.steps} steps, {self._stride} apart: {names}"


def series_windows(
    series: Any, *, steps: int, stride: int = 1, features: Sequence[str] | None = None, by: str | None = None
) -> SeriesWindows:
    """Windows of `steps` time steps, one beginning every `stride` steps, and the rows of a model of them.

    series: a DataFrame of pandas (or a Table of pyarrow) with a line per time step in order of time, whose columns are
    the features; an array (time,) or (time, features); or a list of such arrays. Where a DataFrame holds several
    series, `by` is the column that tells them apart, and no feature. No window crosses from one series into another.
    `features` names those of arrays, and chooses and orders columns of a DataFrame. Mean and std are those of all time
    steps; a feature that never changes has std 1. With stride < steps windows overlap: hold rows out by another
    stretch of time then, as the `reference` of a report. Raises InvalidDataset for what is no number or missing, for
    series that are too short or out of order, and for features that float32 does not show, naming place and way out.
    """
    if steps < 1 or stride < 1:
        raise InvalidDataset(f"steps and stride are 1 or more, not {steps} and {stride}")
    parts, names = _of_frame(series, features, by) if hasattr(series, "columns") else _of_arrays(series, features, by)
    if twice := next((name for name in names if list(names).count(name) > 1), None):
        raise InvalidDataset(f"Two features are called {twice!r}; give them different names")
    for part in parts:
        _check(part, names, steps)
    together = np.concatenate(parts)
    std = together.std(axis=0)
    _check_digits(together, std, names)
    spec = SeriesRows(
        steps=steps,
        features=tuple(names),
        mean=tuple(together.mean(axis=0).tolist()),
        std=tuple(np.where(std > 0, std, 1.0).tolist()),
    )
    views = [np.lib.stride_tricks.sliding_window_view(part, steps, axis=0)[::stride] for part in parts]
    windows = np.concatenate([view.transpose(0, 2, 1).astype(np.float32) for view in views])
    return SeriesWindows(spec, windows, stride)


def _of_frame(
    frame: Any, features: Sequence[str] | None, by: str | None
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """The series of a DataFrame, in the order in which they first occur, and the names of the features."""
    from pandas import DatetimeIndex
    from pandas.api.types import is_numeric_dtype

    frame = as_frame(frame)
    known = list(frame.columns)
    names = [name for name in known if name != by] if features is None else list(features)
    if absent := [name for name in [*names, *([by] if by else [])] if name not in known]:
        raise InvalidDataset(f"There is no column {absent[0]!r}; there are {', '.join(known[:8])}")
    if wrong := [name for name in names if not is_numeric_dtype(frame[name].dtype)]:
        raise InvalidDataset(
            f"The column {wrong[0]!r} holds {frame[wrong[0]].dtype}, and features are numbers: leave it out "
            "(features=[...]), or name it as `by` if it tells several series apart"
        )
    groups = [frame] if by is None else [group for _, group in frame.groupby(by, sort=False)]
    if any(isinstance(each.index, DatetimeIndex) and not each.index.is_monotonic_increasing for each in groups):
        raise InvalidDataset("The lines are not in order of time: sort_index() first")
    return [group[names].to_numpy(np.float64, na_value=np.nan) for group in groups], names


def _of_arrays(
    series: Any, features: Sequence[str] | None, by: str | None
) -> tuple[list[NDArray[np.float64]], list[str]]:
    if by is not None:
        raise InvalidDataset("`by` names a column of a DataFrame; give several series as a list of arrays")
    several = series if isinstance(series, list | tuple) and any(np.ndim(each) for each in series) else [series]
    arrays = [np.asarray(each) for each in several]
    wrong = next((each for each in arrays if each.dtype.kind not in "biuf" or each.ndim not in (1, 2)), None)
    if wrong is not None:
        raise InvalidDataset(f"A series is numbers (time, features), not {wrong.dtype} of the shape {wrong.shape}")
    parts = [(each[:, None] if each.ndim == 1 else each).astype(np.float64) for each in arrays]
    width = parts[0].shape[1]
    if any(part.shape[1] != width for part in parts):
        raise InvalidDataset(f"The series have {', '.join(str(part.shape[1]) for part in parts[:8])} features")
    names = [f"x{number}" for number in range(width)] if features is None else list(features)
    if len(names) != width:
        raise InvalidDataset(f"features names {len(names)}, but the series have {width}")
    return parts, names


def _check_digits(values: NDArray[np.float64], std: NDArray[np.float64], names: Sequence[str]) -> None:
    """Refuses features whose changes float32, in which rows are kept, does not show."""
    largest = np.abs(values).max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: infinite, and its neighbour none
        lost = (std > 0) & ~(np.spacing(largest.astype(np.float32)) <= COARSEST * std)
    if lost.any():
        feature = int(np.argmax(lost))
        raise InvalidDataset(
            f"{names[feature]!r} reaches {largest[feature]:g} and changes by {std[feature]:g}: rows are kept as "
            "float32, which does not tell such values apart. Subtract a constant, or use differences"
        )


def _check(part: NDArray[np.float64], names: Sequence[str], steps: int) -> None:
    if len(part) < steps:
        raise InvalidDataset(f"A series has {len(part):,} time steps, fewer than steps={steps}; leave it out")
    if not np.isfinite(part).all():
        step, feature = np.argwhere(~np.isfinite(part))[0]
        raise InvalidDataset(
            f"Time step {step:,} has no number in {names[feature]!r}: fill it, or cut the series in two there (a list "
            "of arrays, or `by`)"
        )
