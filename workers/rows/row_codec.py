"""What every kind of row can do: from uploads to the floats of a model, from decoded floats to what is delivered."""

from abc import ABC, abstractmethod
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.errors import ModelMismatch
from workers.rows.fields import Field, RowBatch


class RowCodec(ABC):
    """Uploads to model floats (`to_model`), and decoded floats to what is delivered.

    Delivery has two steps, so that a GPU sends bytes instead of floats: `compact` runs where the decoder ran,
    `columns` on the host.
    """

    shape: tuple[int, ...]
    fields: tuple[Field, ...]

    @abstractmethod
    def to_model(self, rows: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
        """Uploaded rows (n, ...) as the model's (n, *shape); a row that does not fit is refused by its number."""

    @abstractmethod
    def columns(self, compacted: NDArray[Any]) -> RowBatch:
        """What `compact` gave, as typed arrays."""

    def compact(self, decoded: torch.Tensor) -> torch.Tensor:
        """Decoded rows (n, *shape) in the fewest bytes that still hold what is delivered."""
        return decoded

    def delivered(self, decoded: torch.Tensor) -> RowBatch:
        """Decoded rows (n, *shape) as users get them."""
        return self.columns(self.compact(decoded).cpu().numpy())


def fitted(rows: NDArray[Any], shape: tuple[int, ...], *, also: tuple[tuple[int, ...], ...] = ()) -> NDArray[Any]:
    """`rows` as (n, *shape) in C order, from that shape, from one of `also` or from flat rows of as many values."""
    if rows.shape[1:] in (shape, *also, (prod(shape),)):
        # Other strides would reach the encoder, which then computes in another order, with other bits.
        return np.ascontiguousarray(rows.reshape(len(rows), *shape))
    raise ModelMismatch(
        f"The dataset's rows have the shape {_text(rows.shape[1:])}, the model's rows have {_text(shape)}"
        f"{_hint(rows.shape[1:], shape)}"
    )


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _hint(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(given) == len(wanted) == 3 and given == (wanted[1], wanted[2], wanted[0]):
        return "; move the channel axis before uploading: np.moveaxis(rows, 3, 1)"
    if len(given) == len(wanted) == 3 and given == (wanted[2], *wanted[:2]):
        return "; move the channel axis before uploading: np.moveaxis(rows, 1, 3)"
    return ""
