"""Grids of pictures: every pixel of a row is in the PNG, at the place of its row."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from latentmill.specs import ImageRows
from workers.rows.pictures import GAP_PIXELS, GAP_SHADE, picture_grid


def decoded(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_each_row_stands_in_its_place(layout: str, channels: int) -> None:
    shape = (channels, 5, 7) if layout == "CHW" else (5, 7, channels)
    rows = np.random.default_rng(0).integers(0, 256, (11, *shape), dtype=np.uint8)
    grid = decoded(picture_grid(rows, ImageRows(shape=shape, layout=layout), 4))
    scale = 10  # 7 pixels become 70, the first multiple from 64 on
    height, width = 5 * scale + GAP_PIXELS, 7 * scale + GAP_PIXELS
    assert grid.shape[:2] == (3 * height + GAP_PIXELS, 4 * width + GAP_PIXELS)
    for number, row in enumerate(rows):
        line, column = divmod(number, 4)
        tile = grid[line * height + GAP_PIXELS :, column * width + GAP_PIXELS :][: height - GAP_PIXELS, : width - 2]
        picture = row if layout == "HWC" else np.moveaxis(row, 0, 2)
        np.testing.assert_array_equal(tile[::scale, ::scale].reshape(picture.shape), picture)
        np.testing.assert_array_equal(tile, tile[::scale, ::scale].repeat(scale, 0).repeat(scale, 1))
    empty = grid[2 * height + GAP_PIXELS :, 3 * width :]  # the twelfth place
    assert (empty[..., :3] == GAP_SHADE).all()


def test_floats_are_rounded_as_bytes_would_be_and_large_pictures_keep_their_size() -> None:
    spec = ImageRows(shape=(1, 64, 64), range=(-1, 1), dtype="float32")
    rows = np.linspace(-1.2, 1.2, 64 * 64, dtype=np.float32).reshape(1, 1, 64, 64)
    grid = decoded(picture_grid(rows, spec))
    assert grid.shape == (64 + 2 * GAP_PIXELS, 64 + 2 * GAP_PIXELS)
    inside = grid[GAP_PIXELS:-GAP_PIXELS, GAP_PIXELS:-GAP_PIXELS]
    np.testing.assert_array_equal(inside, np.clip(np.rint((rows[0, 0].astype(float) + 1) * 127.5), 0, 255))


def test_two_channels_are_red_and_green() -> None:
    rows = np.full((1, 2, 64, 64), [[[[7]], [[9]]]], np.uint8)
    grid = decoded(picture_grid(rows, ImageRows(shape=(2, 64, 64))))
    assert grid[10, 10].tolist() == [7, 9, 0]


def test_the_same_rows_give_the_same_file_and_no_rows_none() -> None:
    spec = ImageRows(shape=(1, 8, 8))
    rows = np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8)
    assert picture_grid(rows, spec) == picture_grid(rows.copy(), spec)
    with pytest.raises(ValueError, match="no pictures"):
        picture_grid(rows[:0], spec)
