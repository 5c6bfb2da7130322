"""Pictures for people: image rows side by side in one PNG."""

from io import BytesIO
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentmill.specs import ImageRows

COLUMNS = 8
GAP_PIXELS = 2
GAP_SHADE = 128  # neither black nor white, which pictures of digits are up to their borders
SMALLEST_SIDE = 64  # pixels: smaller pictures are enlarged by a whole number, so that every pixel stays a square

Pixels = NDArray[np.uint8]


def picture_grid(rows: NDArray[np.generic], spec: ImageRows, columns: int = COLUMNS) -> bytes:
    """Image rows (n, *spec.shape), as they are delivered, as one PNG: `columns` side by side, thin gaps between them.

    uint8 values are shown as they are; float32 values by the spec's range, as a uint8 delivery would round them. One
    channel is grey, three are RGB, four RGBA; two are shown as red and green. Raises ValueError without rows.
    """
    tiles = _tiles(rows, spec)
    count, height, width, channels = tiles.shape
    if count == 0:
        raise ValueError("a grid of no pictures has no size")
    columns = min(columns, count)
    lines = ceil(count / columns)
    grid = np.full(
        (lines * (height + GAP_PIXELS) + GAP_PIXELS, columns * (width + GAP_PIXELS) + GAP_PIXELS, channels),
        GAP_SHADE, np.uint8,
    )  # fmt: skip
    if channels == 4:
        grid[..., 3] = 255
    for number, tile in enumerate(tiles):
        top = GAP_PIXELS + number // columns * (height + GAP_PIXELS)
        left = GAP_PIXELS + number % columns * (width + GAP_PIXELS)
        grid[top : top + height, left : left + width] = tile
    file = BytesIO()
    Image.fromarray(grid[..., 0] if channels == 1 else grid).save(file, "PNG")
    return file.getvalue()


def _tiles(rows: NDArray[np.generic], spec: ImageRows) -> Pixels:
    """(n, height, width, channels) uint8, channels 1, 3 or 4, enlarged where they are small."""
    pixels = _pixels(rows.reshape(len(rows), *spec.shape), spec)
    if spec.layout == "CHW":
        pixels = np.moveaxis(pixels, 1, 3)
    if spec.channels == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=3)
    scale = max(1, ceil(SMALLEST_SIDE / max(pixels.shape[1:3])))
    return pixels.repeat(scale, axis=1).repeat(scale, axis=2)


def _pixels(rows: NDArray[np.generic], spec: ImageRows) -> Pixels:
    if rows.dtype == np.uint8:
        return rows.astype(np.uint8, copy=False)
    low, high = spec.range
    scaled = (rows.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)
