"""Long series become windows: in their own units for uploads, standardised for training, as the service does it."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentmill import series_windows
from latentmill.errors import InvalidDataset
from latentmill.specs import SeriesRows
from workers.diagnostics.overlap import overlap_warnings, shared_steps
from workers.rows import codec

RANDOM = np.random.default_rng(1)
LINES = pd.DataFrame({"load": RANDOM.normal(500, 20, 100), "price": RANDOM.normal(-3, 0.1, 100)})


@pytest.mark.parametrize(("stride", "count"), [(1, 91), (3, 31), (10, 10), (50, 2)])
def test_windows_begin_every_stride_steps(stride: int, count: int) -> None:
    made = series_windows(LINES, steps=10, stride=stride)
    assert made.windows.shape == (count, 10, 2)
    assert made.windows.dtype == np.float32
    for number in (0, count - 1):
        expected = LINES.to_numpy(np.float32)[number * stride : number * stride + 10]
        assert np.array_equal(made.windows[number], expected)


def test_what_is_trained_on_is_what_the_bundle_encodes_and_decodes() -> None:
    made = series_windows(LINES, steps=10)
    assert made.rows["kind"] == "series"
    assert made.rows["features"] == ["load", "price"]
    np.testing.assert_allclose(made.rows["mean"], LINES.mean(), rtol=1e-12)
    np.testing.assert_allclose(made.rows["std"], LINES.std(ddof=0), rtol=1e-12)
    rows = codec(SeriesRows.model_validate(made.rows))
    assert np.array_equal(rows.to_model(made.windows), made.encoded)
    assert np.array_equal(rows.delivered(torch.from_numpy(made.encoded)).values["rows"], made.decode(made.encoded))
    np.testing.assert_allclose(made.decode(made.encoded), made.windows, atol=1e-4)
    assert abs(made.encoded.mean()) < 0.2


def test_no_window_crosses_into_another_series() -> None:
    lines = LINES.assign(sensor=["a"] * 40 + ["b"] * 60)
    by_name = series_windows(lines, steps=10, stride=10, by="sensor")
    as_list = series_windows(
        [LINES[:40].to_numpy(), LINES[40:].to_numpy()], steps=10, stride=10, features=["load", "price"]
    )
    assert np.array_equal(by_name.windows, as_list.windows)
    assert by_name.rows == as_list.rows
    assert len(series_windows(lines, steps=10, by="sensor").windows) == 31 + 51
    mixed = lines.sample(frac=1, random_state=1).sort_index()
    assert np.array_equal(series_windows(mixed, steps=10, stride=10, by="sensor").windows, by_name.windows)


def test_arrays_and_columns_of_choice() -> None:
    one = series_windows(np.arange(20.0), steps=5, stride=5)
    assert one.windows[:, :, 0].tolist() == np.arange(20).reshape(4, 5).tolist()
    assert one.rows["features"] == ["x0"]
    constant = series_windows(np.full((20, 1), 7.0), steps=5)
    assert (constant.rows["mean"], constant.rows["std"]) == ([7.0], [1.0])
    dated = LINES.assign(when="2020-01-01")
    assert series_windows(dated, steps=5, features=["price", "load"]).rows["features"] == ["price", "load"]
    import pyarrow as pa

    assert np.array_equal(
        series_windows(pa.Table.from_pandas(LINES), steps=10).windows, series_windows(LINES, steps=10).windows
    )
    assert "91 windows of 10 steps, 1 apart: load, price" in repr(series_windows(LINES, steps=10))


@pytest.mark.parametrize(
    ("series", "choices", "words"),
    [
        (LINES, {"steps": 0}, "steps and stride are 1 or more"),
        (LINES, {"steps": 101}, "100 time steps, fewer than steps=101"),
        (LINES.assign(when="x"), {"steps": 5}, r"'when' holds .*features=\[...\].*by"),
        (LINES, {"steps": 5, "by": "sensor"}, "no column 'sensor'; there are load, price"),
        (LINES.assign(load=np.where(LINES.index == 7, np.nan, 1.0)), {"steps": 5}, "step 7 has no number in 'load'"),
        (LINES.set_axis(pd.date_range("2020", periods=100)[::-1]), {"steps": 5}, r"order of time: sort_index\(\)"),
        (LINES.assign(load=1e9 + LINES.load), {"steps": 5}, r"'load' reaches 1e\+09 and changes by .*float32"),
        (LINES.assign(load=1e39 * LINES.load), {"steps": 5}, "'load' reaches .*float32"),
        (np.zeros((5, 2)), {"steps": 2, "features": ["a"]}, "names 1, but the series have 2"),
        (np.zeros((5, 2, 2)), {"steps": 2}, r"numbers \(time, features\), not float64 of the shape \(5, 2, 2\)"),
        (np.array(["a", "b"]), {"steps": 2}, "is numbers"),
        ([np.zeros((5, 2)), np.zeros((5, 3))], {"steps": 2}, "have 2, 3 features"),
        (np.zeros((5, 2)), {"steps": 2, "by": "a"}, "list of arrays"),
        (np.zeros((5, 2)), {"steps": 2, "features": ["a", "a"]}, "Two features are called 'a'"),
    ],
)
def test_refused_by_name(series, choices, words) -> None:
    with pytest.raises(InvalidDataset, match=words):
        series_windows(series, **choices)


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(InvalidDataset, match=r"they are \(n, 10, 2\): steps, features"):
        series_windows(LINES, steps=10).encode(np.zeros((3, 2, 10)))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(3, 12), stride=st.integers(1, 15), features=st.integers(1, 3), flat=st.booleans(),
    kind=st.sampled_from(["normal", "counts"]),
)  # fmt: skip
def test_windows_that_overlap_are_recognised(steps: int, stride: int, features: int, flat: bool, kind: str) -> None:
    random = np.random.default_rng(steps * 100 + stride)
    values = random.normal(size=(300, features)) if kind == "normal" else random.integers(0, 50, (300, features))
    made = series_windows(values, steps=steps, stride=stride)
    rows = made.windows.reshape(len(made.windows), -1) if flat else made.windows
    shared = max(0, steps - stride)
    assert shared_steps(rows, SeriesRows.model_validate(made.rows)) == (shared if shared >= 2 else 0)


def test_the_warning_names_the_way_out_and_only_where_rows_overlap() -> None:
    spec = SeriesRows(steps=10, features=("a",))
    wave = np.sin(np.arange(500) / 7.3)
    [told] = overlap_warnings(series_windows(wave, steps=10).windows, spec)
    assert told.startswith("Rows overlap: most begin with the last 9 of the 10 steps of the row before.")
    assert "stride=10" in told
    assert overlap_warnings(series_windows(wave, steps=10, stride=10).windows, spec) == []
    assert overlap_warnings(np.zeros((50, 10, 1), np.float32), spec) == []  # equal rows are one group already
    assert overlap_warnings(wave[:10].reshape(1, 10, 1), spec) == []
