"""Tensors, and series, which are tensors with named features in units of their own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import SeriesRows, TensorRows
from workers.rows.fields import Field, RowBatch
from workers.rows.row_codec import RowCodec, fitted


class TensorCodec(RowCodec):
    """Numbers with no further meaning: float32 both ways."""

    def __init__(self, spec: TensorRows) -> None:
        self.shape = spec.shape
        self.fields = (Field("rows", np.dtype(np.float32), spec.shape),)

    def to_model(self, rows: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
        return fitted(rows, self.shape).astype(np.float32)

    def columns(self, compacted: NDArray[Any]) -> RowBatch:
        return RowBatch({"rows": compacted})


class SeriesCodec(RowCodec):
    """(steps, features) float32; value = decoded * std + mean of its feature."""

    def __init__(self, spec: SeriesRows) -> None:
        self.shape = spec.shape
        self.fields = (Field("rows", np.dtype(np.float32), spec.shape),)
        features = len(spec.features)
        self.mean = np.array(spec.mean or (0.0,) * features, dtype=np.float64)
        self.std = np.array(spec.std or (1.0,) * features, dtype=np.float64)

    def to_model(self, rows: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
        # In float64: (x - mean) loses its digits in float32 where the mean is large beside the std.
        return ((fitted(rows, self.shape).astype(np.float64) - self.mean) / self.std).astype(np.float32)

    def columns(self, compacted: NDArray[Any]) -> RowBatch:
        return RowBatch({"rows": (compacted.astype(np.float64) * self.std + self.mean).astype(np.float32)})
