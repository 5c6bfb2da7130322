"""Images: uint8 outside, the model's own range inside."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from latentmill.specs import ImageRows
from workers.rows.fields import Field, RowBatch
from workers.rows.row_codec import RowCodec, fitted

TOLERANCE = 1e-6  # of the range: what rounding to float32 may add to a value at its border


class ImageCodec(RowCodec):
    """decoded * std + mean (where given) lies in `range`; the range maps to 0..255, rounded to even and clipped."""

    def __init__(self, spec: ImageRows) -> None:
        self.spec = spec
        self.shape = spec.shape
        self.fields = (Field("rows", np.dtype(spec.dtype), spec.shape),)
        self.low, self.high = spec.range

    def to_model(self, rows: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
        rows = fitted(rows, self.shape, also=self._without_channel())
        if rows.dtype == np.uint8:
            values = rows.astype(np.float32) / np.float32(255)
            values = values * np.float32(self.high - self.low) + np.float32(self.low)
        else:
            values = rows.astype(np.float32)
            self._check_range(values, first_row)
        if self.spec.mean is not None and self.spec.std is not None:
            values = (values - self._per_channel(self.spec.mean)) / self._per_channel(self.spec.std)
        return values

    def compact(self, decoded: torch.Tensor) -> torch.Tensor:
        if self.spec.mean is not None and self.spec.std is not None:
            mean, std = (torch.from_numpy(self._per_channel(v)) for v in (self.spec.mean, self.spec.std))
            decoded = decoded * std.to(decoded.device) + mean.to(decoded.device)
        if self.spec.dtype == "float32":
            return decoded
        scale = 255.0 / (self.high - self.low)
        pixels = decoded * scale if self.low == 0.0 else (decoded - self.low).mul_(scale)
        return pixels.round_().clamp_(0.0, 255.0).to(torch.uint8)

    def columns(self, compacted: NDArray[Any]) -> RowBatch:
        return RowBatch({"rows": compacted})

    def _without_channel(self) -> tuple[tuple[int, ...], ...]:
        """The shape of grey images that come without a channel axis."""
        if self.spec.channels != 1:
            return ()
        return (self.shape[1:],) if self.spec.layout == "CHW" else (self.shape[:2],)

    def _per_channel(self, values: tuple[float, ...]) -> NDArray[np.float32]:
        array = np.array(values, dtype=np.float32)
        return array.reshape(-1, 1, 1) if self.spec.layout == "CHW" else array

    def _check_range(self, values: NDArray[np.float32], first_row: int) -> None:
        slack = TOLERANCE * (self.high - self.low)
        if values.size == 0 or (values.min() >= self.low - slack and values.max() <= self.high + slack):
            return
        outside = ~((values >= self.low - slack) & (values <= self.high + slack))  # NaN is neither
        row = int(np.argmax(outside.reshape(len(values), -1).any(axis=1)))
        value = float(values[row][outside[row]][0])
        raise InvalidDataset(
            f"Row {first_row + row} has the value {value:g}, outside the model's range [{self.low:g}, {self.high:g}]; "
            "upload pixels 0..255 as uint8 (npy, npz or idx), or floats scaled into that range"
        )
