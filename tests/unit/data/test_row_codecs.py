"""Rows between users and models: both ways, and what is refused."""

import numpy as np
import pytest
import torch

from latentmill.errors import InvalidDataset, ModelMismatch
from latentmill.specs import ImageRows, SeriesRows, TableRows, TensorRows
from workers.rows import codec


def image(**choices) -> ImageRows:
    return ImageRows(**{"shape": (1, 2, 2), **choices})


@pytest.mark.parametrize(
    "spec",
    [
        image(),
        image(range=(-1.0, 1.0)),
        image(shape=(3, 2, 2), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
        image(shape=(2, 2, 3), layout="HWC", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
    ],
)
def test_every_pixel_comes_back(spec: ImageRows) -> None:
    pixels = np.resize(np.arange(256, dtype=np.uint8), (100, *spec.shape))
    rows = codec(spec)
    back = rows.delivered(torch.from_numpy(rows.to_model(pixels)))
    assert back.values["rows"].dtype == np.uint8
    assert np.array_equal(back.values["rows"], pixels)


def test_uint8_spans_the_range_and_decoded_values_beyond_it_are_clipped() -> None:
    rows = codec(image(range=(-1.0, 1.0)))
    ends = rows.to_model(np.array([0, 255, 0, 255], np.uint8).reshape(1, 1, 2, 2))
    assert ends.reshape(-1).tolist() == [-1.0, 1.0, -1.0, 1.0]
    decoded = torch.tensor([-7.0, 7.0, 0.0, -1.0]).reshape(1, 1, 2, 2)
    assert rows.delivered(decoded).values["rows"].reshape(-1).tolist() == [0, 255, 128, 0]


def test_images_of_floats_are_delivered_as_decoded() -> None:
    decoded = torch.tensor([-0.5, 0.25, 0.5, 2.0]).reshape(1, 1, 2, 2)
    delivered = codec(image(dtype="float32")).delivered(decoded).values["rows"]
    assert delivered.dtype == np.float32
    assert np.array_equal(delivered, decoded.numpy())


@pytest.mark.parametrize("shape", [(5, 1, 2, 2), (5, 2, 2), (5, 4)])
def test_grey_images_come_with_or_without_channel_or_flat(shape: tuple[int, ...]) -> None:
    pixels = np.arange(20, dtype=np.uint8)
    assert np.array_equal(
        codec(image()).to_model(pixels.reshape(shape)), codec(image()).to_model(pixels.reshape(5, 1, 2, 2))
    )


def test_floats_outside_the_range_are_refused_by_their_row() -> None:
    rows = np.zeros((4, 1, 2, 2), np.float32)
    rows[2, 0, 1, 0] = 254.0
    with pytest.raises(InvalidDataset, match=r"Row 102 has the value 254, outside the model's range \[0, 1\].*uint8"):
        codec(image()).to_model(rows, first_row=100)


def test_pixels_that_are_no_numbers_are_refused_by_their_row() -> None:
    rows = np.zeros((4, 1, 2, 2), np.float32)
    rows[3, 0, 1, 0] = np.nan
    with pytest.raises(InvalidDataset, match="Row 3 has the value nan"):
        codec(image()).to_model(rows)


def test_integers_beyond_int64_end_at_its_borders() -> None:
    spec = TableRows(columns=({"name": "count", "kind": "integer", "mean": 0.0, "std": 1e30},))
    found = codec(spec).delivered(torch.tensor([[1.0], [-1.0], [0.0]])).values["count"]
    assert found.tolist() == [2**63 - 1024, -(2**63) + 1024, 0]


def test_other_shapes_are_refused_with_both_named() -> None:
    with pytest.raises(ModelMismatch, match=r"3 x 3, the model's rows have 1 x 2 x 2"):
        codec(image()).to_model(np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(ModelMismatch, match=r"move the channel axis .*np.moveaxis\(rows, 3, 1\)"):
        codec(image(shape=(3, 8, 8))).to_model(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ModelMismatch, match=r"move the channel axis .*np.moveaxis\(rows, 1, 3\)"):
        codec(image(shape=(8, 9, 3), layout="HWC")).to_model(np.zeros((1, 3, 8, 9), np.uint8))


def test_series_come_back_in_their_own_units() -> None:
    spec = SeriesRows(steps=3, features=("price", "volume"), mean=(1e6, -2.0), std=(0.5, 4.0))
    values = np.random.default_rng(1).standard_normal((7, 3, 2)) * [0.5, 4.0] + [1e6, -2.0]
    model = codec(spec).to_model(values.astype(np.float32))
    assert abs(model.std() - 1.0) < 0.2
    back = codec(spec).delivered(torch.from_numpy(model)).values["rows"]
    np.testing.assert_allclose(back, values, atol=0.07)  # float32 at 1e6


def test_tensors_pass_through() -> None:
    values = np.random.default_rng(2).standard_normal((3, 2, 5)).astype(np.float32)
    rows = codec(TensorRows(shape=(2, 5)))
    assert np.array_equal(rows.delivered(torch.from_numpy(rows.to_model(values))).values["rows"], values)


def test_tables_come_back_as_typed_columns() -> None:
    spec = TableRows(
        columns=(
            {"name": "income", "kind": "number", "mean": 1000.0, "std": 100.0, "minimum": 0.0, "missing": True},
            {"name": "rooms", "kind": "integer", "mean": 3.0, "std": 1.0, "minimum": 0.5, "maximum": 6.2},
            {"name": "city", "kind": "category", "categories": ("Bonn", "Ulm"), "missing": True},
            {"name": "garden", "kind": "boolean"},
        )
    )
    decoded = torch.tensor(
        [
            # income, missing, rooms, Bonn, Ulm, missing, garden
            [1.0, 0.1, 0.6, 0.9, 0.0, 0.1, 0.9],
            [-99.0, 0.1, 9.0, 0.2, 0.7, 0.1, 0.1],
            [0.0, 0.9, -9.0, 0.2, 0.3, 0.5, 0.5],
        ]
    )
    batch = codec(spec).delivered(decoded)
    income = batch.values["income"]
    assert income[:2].tolist() == [1100.0, 0.0]
    assert np.isnan(income[2])
    assert batch.values["rooms"].tolist() == [4, 6, 1]
    assert batch.values["city"].tolist() == [0, 1, 0]
    assert batch.values["garden"].tolist() == [True, False, False]
    assert {name: marks.tolist() for name, marks in batch.missing.items()} == {
        "income": [False, False, True],
        "city": [False, False, True],
    }
    assert [field.dtype.kind for field in codec(spec).fields] == ["f", "i", "i", "b"]
