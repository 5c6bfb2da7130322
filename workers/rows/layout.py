"""Where the channel axis of images stands: uploads that say it serve models of either layout."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmill.specs import ImageRows, Rows


def laid_out(rows: NDArray[Any], layout: Literal["HWC"] | None, spec: Rows) -> NDArray[Any]:
    """`rows` (n, ...) with the channel axis where `spec` has it: a view, so that a file stays on the disk.

    Only rows whose layout is known are turned; where nothing says it, a shape that does not fit is refused later.
    """
    if layout == "HWC" and isinstance(spec, ImageRows) and spec.layout == "CHW" and rows.ndim == 4:
        return np.moveaxis(rows, 3, 1)
    return rows
