"""Images between uploads and models, whatever layout, channels, range, mean, std and dtype a bundle has."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latentmill.errors import InvalidDataset
from latentmill.specs import ImageRows
from workers.rows import codec
from workers.rows.pictures import GAP_PIXELS, picture_grid

RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-3.5, 0.25), (2.0, 2.5))


@st.composite
def image_specs(draw: st.DrawFn, dtype: str | None = None) -> ImageRows:
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    layout, span = draw(st.sampled_from(["CHW", "HWC"])), draw(st.sampled_from(RANGES))
    shape = (channels, height, width) if layout == "CHW" else (height, width, channels)
    normalised = draw(st.booleans())
    inside = st.floats(0, 1).map(lambda at: span[0] + at * (span[1] - span[0]))
    return ImageRows(
        shape=shape, layout=layout, range=span, dtype=dtype or draw(st.sampled_from(["uint8", "float32"])),
        mean=tuple(draw(inside) for _ in range(channels)) if normalised else None,
        std=tuple(draw(st.floats(0.05, 4.0)) * (span[1] - span[0]) for _ in range(channels)) if normalised else None,
    )  # fmt: skip


def pixels_for(spec: ImageRows, rows: int = 8) -> np.ndarray:
    return np.resize(np.arange(256, dtype=np.uint8), (rows, *spec.shape))


def by_channel(spec: ImageRows, values: tuple[float, ...]) -> np.ndarray:
    return np.array(values).reshape((-1, 1, 1) if spec.layout == "CHW" else (1, 1, -1))


def in_range(spec: ImageRows, pixels: np.ndarray) -> np.ndarray:
    low, high = spec.range
    return pixels.astype(np.float64) / 255 * (high - low) + low


@settings(max_examples=150, deadline=None)
@given(image_specs())
def test_the_model_sees_the_range_less_mean_by_std(spec: ImageRows) -> None:
    pixels = pixels_for(spec)
    expected = in_range(spec, pixels)
    if spec.mean is not None:
        expected = (expected - by_channel(spec, spec.mean)) / by_channel(spec, spec.std)
    rows = codec(spec)
    found = rows.to_model(pixels)
    assert (found.dtype, found.shape) == (np.float32, pixels.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    # The same picture as floats in the range is the same to the model.
    np.testing.assert_allclose(rows.to_model(in_range(spec, pixels).astype(np.float32)), found, rtol=1e-5, atol=2e-5)


@settings(max_examples=150, deadline=None)
@given(image_specs())
def test_what_the_model_saw_comes_back(spec: ImageRows) -> None:
    rows, pixels = codec(spec), pixels_for(spec, 40)
    back = rows.delivered(torch.from_numpy(rows.to_model(pixels))).values["rows"]
    assert (back.dtype, back.shape) == (np.dtype(spec.dtype), pixels.shape)
    assert [(field.dtype, field.shape) for field in rows.fields] == [(back.dtype, spec.shape)]
    if spec.dtype == "uint8":
        assert np.array_equal(back, pixels)
    else:
        np.testing.assert_allclose(back, in_range(spec, pixels), atol=1e-6 * max(1.0, *np.abs(spec.range)))
    rows.to_model(back)  # what is delivered can be uploaded again


@settings(max_examples=60, deadline=None)
@given(image_specs(dtype="uint8"), st.floats(1.0, 1e6))
def test_decoded_values_beyond_the_range_end_at_its_borders(spec: ImageRows, beyond: float) -> None:
    decoded = torch.tensor([[-beyond], [beyond]]).expand(2, int(np.prod(spec.shape))).reshape(2, *spec.shape) * 1e3
    assert [set(row.reshape(-1)) for row in codec(spec).delivered(decoded).values["rows"]] == [{0}, {255}]


@settings(max_examples=80, deadline=None)
@given(image_specs(), st.floats(1e-4, 10.0), st.booleans())
def test_floats_outside_the_range_are_refused(spec: ImageRows, far: float, above: bool) -> None:
    rows = np.full((3, *spec.shape), spec.range[0], np.float32)
    span = spec.range[1] - spec.range[0]
    rows[1].reshape(-1)[-1] = spec.range[1] + far * span if above else spec.range[0] - far * span
    with pytest.raises(InvalidDataset, match=r"Row 8 has the value .*uint8"):
        codec(spec).to_model(rows, first_row=7)


@settings(max_examples=40, deadline=None)
@given(image_specs())
def test_a_png_shows_every_row_as_it_is_delivered(spec: ImageRows) -> None:
    pixels = pixels_for(spec, 3)
    rows = codec(spec)
    delivered = rows.delivered(torch.from_numpy(rows.to_model(pixels))).values["rows"]
    image = np.asarray(Image.open(io.BytesIO(picture_grid(delivered, spec))))
    picture = np.moveaxis(pixels[0], 0, 2) if spec.layout == "CHW" else pixels[0]
    scale = max(1, -(-64 // max(picture.shape[:2])))
    shown = image[GAP_PIXELS:, GAP_PIXELS:][: picture.shape[0] * scale : scale, : picture.shape[1] * scale : scale]
    if spec.channels == 2:
        picture = np.concatenate([picture, np.zeros_like(picture[..., :1])], axis=2)
    assert np.array_equal(shown.reshape(picture.shape), picture)
