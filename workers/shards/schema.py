"""What a shard holds, known before its first row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.rows import Field, RowBatch


@dataclass(frozen=True, slots=True)
class ShardSchema:
    """The fields of the rows, and beside them `latents` and `labels` where the shard has them."""

    rows: tuple[Field, ...]
    beside: tuple[Field, ...] = ()

    @staticmethod
    def of(
        rows: tuple[Field, ...], *, latent_shape: tuple[int, ...] | None = None, classes: tuple[str, ...] | None = None
    ) -> "ShardSchema":
        """Rows, with latents of that shape and labels of these classes where given."""
        beside = []
        if latent_shape is not None:
            beside.append(Field("latents", np.dtype(np.float32), latent_shape))
        if classes is not None:
            beside.append(Field("labels", np.dtype(np.int32), categories=classes))
        return ShardSchema(rows, tuple(beside))

    @property
    def is_table(self) -> bool:
        """True where a row is several named values; otherwise it is one array called `rows`."""
        return [field.name for field in self.rows] != ["rows"]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row as arrays."""
        return sum(field.row_bytes for field in (*self.rows, *self.beside))


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """The next n rows of a shard, and what stands beside them: latents (n, *shape), labels (n,) as class numbers."""

    rows: RowBatch
    beside: dict[str, NDArray[Any]]

    def cut(self, start: int, stop: int) -> "ShardBatch":
        """Rows start to stop of this batch."""
        return ShardBatch(self.rows.cut(start, stop), {name: v[start:stop] for name, v in self.beside.items()})
