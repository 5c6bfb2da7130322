"""Pictures for the page: one small PNG per row as a data: URI, within a budget of bytes for the whole page."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from math import sqrt
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from latentmill.specs import ImageRows, TensorRows
from workers.rows import RowBatch
from workers.rows.pictures import picture_grid

BUDGET_BYTES = 1_500_000  # of PNG for all pictures of a page; base64 adds a third
SMALLEST, LARGEST = 40, 160  # pixels of a picture's longer side
HEAT_SIDE = 64
# cividis at eleven places (Nunez, Anderton, Renslow 2018): even steps of lightness, for every kind of colour vision
CIVIDIS = np.array(
    [(0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115), (138, 134, 120),
     (165, 156, 116), (195, 180, 105), (225, 204, 85), (248, 226, 70), (254, 232, 56)], dtype=np.float64
)  # fmt: skip

Drawing = Callable[[RowBatch], list[Markup]]


def image_drawing(spec: ImageRows, pictures: int) -> Drawing:
    """Draws image rows; `pictures` is how many the whole page holds, which bounds the size of each."""
    values = max(1, pictures) * spec.channels
    side = int(min(LARGEST, max(SMALLEST, sqrt(BUDGET_BYTES / values))))

    def draw(batch: RowBatch) -> list[Markup]:
        rows = batch.values["rows"]
        return [_image(Image.open(BytesIO(picture_grid(rows[i : i + 1], spec))), side) for i in range(len(rows))]

    return draw


def heat_drawing(spec: TensorRows, batches: list[RowBatch]) -> tuple[Drawing, tuple[float, float]]:
    """Draws tensors as strips of colour on one scale for all `batches`, and the scale's ends (1st, 99th percentile)."""
    every = np.concatenate([batch.values["rows"].reshape(-1) for batch in batches]).astype(np.float64)
    every = every[np.isfinite(every)]
    low, high = (float(end) for end in np.percentile(every, [1, 99])) if len(every) else (0.0, 1.0)
    width = spec.shape[-1]

    def draw(batch: RowBatch) -> list[Markup]:
        rows = batch.values["rows"].astype(np.float64).reshape(batch.rows, -1, width)
        shares = np.clip((np.nan_to_num(rows, nan=low) - low) / ((high - low) or 1.0), 0.0, 1.0)
        return [_image(Image.fromarray(_coloured(_squared(row))), HEAT_SIDE * 2, "heat") for row in shares]

    return draw, (low, high)


def _squared(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most 64 values each way, by leaving out evenly; a single line is folded so that it can be seen."""
    height, width = values.shape
    if height == 1 and width > HEAT_SIDE:
        rows = -(-width // HEAT_SIDE)
        values = np.pad(values, ((0, 0), (0, rows * HEAT_SIDE - width))).reshape(rows, HEAT_SIDE)
    down, across = (max(1, -(-size // HEAT_SIDE)) for size in values.shape)
    thinned: NDArray[np.float64] = values[::down, ::across]
    return thinned


def _coloured(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    places = np.linspace(0.0, 1.0, len(CIVIDIS))
    colours = np.stack([np.interp(shares, places, CIVIDIS[:, channel]) for channel in range(3)], axis=-1)
    scale = max(1, HEAT_SIDE // max(shares.shape))
    return np.rint(colours).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)


def _image(picture: Any, side: int, kind: str = "picture") -> Markup:
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    width, height = picture.size
    encoded = b64encode(file.getvalue()).decode()
    tag = Markup('<img class="{}" width="{}" height="{}" alt="" src="data:image/png;base64,{}">')
    return tag.format(kind, width, height, encoded)
