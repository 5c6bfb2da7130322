"""Tables: decoded values side by side become typed columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import TableRows
from workers.columns import decoded
from workers.rows.fields import Field, RowBatch
from workers.rows.row_codec import RowCodec, fitted

DTYPES = {"number": np.float64, "integer": np.int64, "category": np.int32, "boolean": np.bool_}


class TableCodec(RowCodec):
    """Columns of decoded values, `width` wide each, as `workers.columns` says."""

    def __init__(self, spec: TableRows) -> None:
        self.spec = spec
        self.shape = spec.shape
        self.fields = tuple(
            Field(c.name, np.dtype(DTYPES[c.kind]), categories=c.categories, missing=c.missing) for c in spec.columns
        )

    def to_model(self, rows: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
        """Rows that are encoded already: as many values as the model's columns take together."""
        return fitted(rows, self.shape).astype(np.float32)

    def columns(self, compacted: NDArray[Any]) -> RowBatch:
        batch = RowBatch({})
        start = 0
        for column in self.spec.columns:
            typed = decoded(column, compacted[:, start : start + column.width])
            start += column.width
            batch.values[column.name] = typed.values
            if typed.missing is not None:
                batch.missing[column.name] = typed.missing
        return batch
