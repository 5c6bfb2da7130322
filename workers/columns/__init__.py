"""Typed columns, and the values that a model computes them in: numpy only, for front door and workers alike."""

from workers.columns.fitting import as_column_has_them
from workers.columns.transform import decoded, encoded, encoded_table
from workers.columns.values import ColumnValues

__all__ = ["ColumnValues", "as_column_has_them", "decoded", "encoded", "encoded_table"]
