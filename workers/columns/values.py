"""The values of one column outside the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.specs.rows import ColumnKind

SHOWN_CHARACTERS = 40


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
        return quoted(self.texts[int(value)]) if self.texts is not None else repr(value.item())


def quoted(text: str) -> str:
    """A text within a message, which may be of any length."""
    return repr(text) if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]!r}..."
