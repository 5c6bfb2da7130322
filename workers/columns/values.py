"""The values of one column outside the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs.rows import ColumnKind


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """n values of a column: floats, integers, booleans, or numbers of `texts`; what stands at missing places is noise.

    missing: (n,), True where there is no value; None where every row has one.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    texts: tuple[str, ...] | None = None

    @property
    def kind(self) -> ColumnKind:
        """What the values are by their own type."""
        if self.texts is not None:
            return "category"
        if self.values.dtype == np.bool_:
            return "boolean"
        return "number" if np.issubdtype(self.values.dtype, np.floating) else "integer"

    @property
    def present(self) -> NDArray[np.bool_]:
        return np.ones(len(self.values), np.bool_) if self.missing is None else ~self.missing

    def shown(self, row: int) -> str:
        """One value as people write it."""
        value = self.values[row]
        if self.texts is not None:
            return repr(self.texts[int(value)])
        return repr(value.item())
