"""Rows in numbers, and what differs column by column: against scipy, and on planted differences."""

import numpy as np
import pytest
from scipy.stats import contingency, f_oneway, pearsonr, wasserstein_distance

from workers.diagnostics.association import association, correlation, correlation_ratio, cramers_v
from workers.diagnostics.column import columns_of
from workers.diagnostics.column_distance import ColumnDistance
from workers.diagnostics.columns import column_differences
from workers.diagnostics.values import column_means, row_values
from workers.rows import Field, RowBatch

FIELDS = (
    Field("age", np.dtype(np.float64), missing=True),
    Field("visits", np.dtype(np.int64), missing=True),
    Field("city", np.dtype(np.int32), categories=("a", "b", "c"), missing=True),
    Field("member", np.dtype(np.bool_)),
)


def table(rows: int, seed: int, *, shift: float = 0.0, together: float = 0.8, missing: float = 0.1) -> RowBatch:
    """age and visits go together; city has shares 1/2, 1/3, 1/6, and members are those of the first city."""
    generator = np.random.default_rng(seed)
    age = generator.standard_normal(rows)
    visits = together * age + (1 - together**2) ** 0.5 * generator.standard_normal(rows)
    city = np.searchsorted([1 / 2, 5 / 6], generator.random(rows)).astype(np.int32)
    gone = generator.random((3, rows)) < missing
    values = {
        "age": np.where(gone[0], np.nan, 40 + 10 * (age + shift)),
        "visits": np.where(gone[1], 0, np.rint(100 + 20 * visits)).astype(np.int64),
        "city": np.where(gone[2], 0, city).astype(np.int32),
        "member": city == 0,
    }
    return RowBatch(values, {"visits": gone[1], "city": gone[2]})


def test_values_of_a_table_are_numbers_marks_and_categories() -> None:
    batch = RowBatch(
        {
            "age": np.array([30.0, np.nan, 50.0]),
            "visits": np.array([1, 5, 0]),
            "city": np.array([2, 0, 0], dtype=np.int32),
            "member": np.array([True, False, True]),
        },
        {"visits": np.array([False, False, True]), "city": np.array([False, True, False])},
    )
    assert column_means(batch, FIELDS) == {"age": 40.0, "visits": 3.0}
    expected = [
        [30, 0, 1, 0, 0, 0, 1, 0, 1],
        [40, 1, 5, 0, 0, 0, 0, 1, 0],
        [50, 0, 3, 1, 1, 0, 0, 0, 1],
    ]
    np.testing.assert_array_equal(row_values(batch, FIELDS), expected)
    fixed = row_values(batch, FIELDS, {"age": 1.0, "visits": 2.0})
    assert (fixed[1, 0], fixed[2, 2]) == (1.0, 2.0)
    empty = RowBatch({"age": np.array([np.nan])})
    assert column_means(empty, FIELDS[:1]) == {"age": 0.0}


def test_values_of_anything_else_are_flat() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    found = row_values(RowBatch({"rows": pixels}), (Field("rows", np.dtype(np.uint8), (3, 2, 2)),))
    np.testing.assert_array_equal(found, np.arange(24.0).reshape(2, 12))
    assert found.dtype == np.float64


def test_associations_agree_with_scipy() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, 300))
    one, other = generator.integers(0, 4, 300), generator.integers(0, 3, 300)
    other = np.where(generator.random(300) < 0.4, one % 3, other) * 10  # numbers with gaps are categories too
    assert correlation(a, a * 0.3 + b) == pytest.approx(pearsonr(a, a * 0.3 + b).statistic)
    counts = contingency.crosstab(one, other).count
    assert cramers_v(one, other) == pytest.approx(contingency.association(counts, method="cramer"))
    values = b + 0.5 * one
    f = f_oneway(*(values[one == k] for k in range(4))).statistic
    assert correlation_ratio(one, values) ** 2 == pytest.approx(3 * f / (3 * f + 296))
    constant = np.zeros(300)
    assert correlation(a, constant) == correlation_ratio(one, constant) == cramers_v(one, one * 0) == 0.0
    assert cramers_v(one, one) == pytest.approx(1.0)


def test_each_column_is_compared_in_its_own_way() -> None:
    made, own, floor = table(500, 1, shift=0.5), table(500, 2), table(500, 3)
    found = column_differences(made, own, FIELDS, floor=floor)
    age, visits, city, member = found["columns"]
    there = [batch.values["age"][~np.isnan(batch.values["age"])] for batch in (made, own, floor)]
    assert age["measure"] == visits["measure"] == "wasserstein / sd"
    assert age["distance"] == pytest.approx(wasserstein_distance(there[0], there[1]) / there[1].std())
    assert age["floor"] == pytest.approx(wasserstein_distance(there[2], there[1]) / there[1].std())
    assert age["distance"] > 0.4 > 0.15 > age["floor"]
    shares = [
        np.bincount(b.values["city"][~b.missing["city"]], minlength=3) / (~b.missing["city"]).sum() for b in (made, own)
    ]
    assert city["measure"] == member["measure"] == "total variation"
    assert city["distance"] == pytest.approx(0.5 * np.abs(shares[0] - shares[1]).sum())
    assert member["distance"] == pytest.approx(abs(made.values["member"].mean() - own.values["member"].mean()))
    assert visits["missing"] == made.missing["visits"].mean()
    assert age["missing_reference"] == np.isnan(own.values["age"]).mean()
    assert member["missing"] == 0.0


def test_pairs_that_no_longer_go_together_are_found() -> None:
    made, own, floor = table(800, 1, together=0.0), table(800, 2), table(800, 3)
    pairs = column_differences(made, own, FIELDS, floor=floor)["pairs"]
    assert (pairs["columns"], pairs["of"], len(pairs["largest"])) == (4, 4, 6)
    worst = pairs["largest"][0]
    assert (worst["columns"], worst["measure"]) == (["age", "visits"], "correlation")
    assert abs(worst["generated"]) < 0.15 < 0.7 < worst["reference"]
    assert pairs["largest_difference"] == pytest.approx(worst["reference"] - worst["generated"])
    assert pairs["floor_largest_difference"] < 0.2
    assert pairs["floor_mean_difference"] < pairs["mean_difference"]
    measures = {tuple(pair["columns"]): pair["measure"] for pair in pairs["largest"]}
    assert measures[("city", "member")] == "cramers v"
    assert measures[("age", "city")] == "correlation ratio"
    same = column_differences(own, own, FIELDS)
    assert same["pairs"]["largest_difference"] == 0.0
    assert "floor_mean_difference" not in same["pairs"]
    assert all(column["distance"] == 0.0 and "floor" not in column for column in same["columns"])


def test_columns_without_values_have_no_distance() -> None:
    gone, own = table(50, 1, missing=1.0), table(50, 2)
    found = column_differences(gone, own, FIELDS)
    assert [column["distance"] is None for column in found["columns"]] == [True, True, True, False]
    assert column_differences(gone, own, FIELDS[:1])["pairs"] is None


def test_a_constant_column_is_compared_in_its_own_units() -> None:
    field = (Field("x", np.dtype(np.float64)),)
    own, made = RowBatch({"x": np.full(10, 3.0)}), RowBatch({"x": np.full(10, 5.0)})
    assert column_differences(made, own, field)["columns"][0]["distance"] == 2.0


def test_a_series_is_compared_feature_by_feature() -> None:
    generator = np.random.default_rng(5)
    fields = (Field("rows", np.dtype(np.float32), (20, 2)),)
    base = generator.standard_normal((2, 60, 20, 2)).astype(np.float32)
    own = base[0].copy()
    own[..., 1] += own[..., 0]
    found = column_differences(RowBatch({"rows": base[1]}), RowBatch({"rows": own}), fields, names=("speed", "load"))
    speed, load = found["columns"]
    assert (speed["name"], load["name"]) == ("speed", "load")
    expected = wasserstein_distance(base[1][..., 1].ravel(), own[..., 1].ravel()) / own[..., 1].std(dtype=np.float64)
    assert load["distance"] == pytest.approx(expected, rel=1e-6)
    assert load["distance"] > 3 * speed["distance"]
    assert found["pairs"]["largest"][0]["reference"] == pytest.approx(0.7, abs=0.05)
    assert column_differences(RowBatch({"rows": own}), RowBatch({"rows": own}), fields)["columns"][1]["name"] == "1"


def test_a_distance_of_rows_counted_once_is_the_distance() -> None:
    made, own = table(300, 1, shift=0.3), table(200, 2)
    for mine, theirs in zip(columns_of(made, FIELDS), columns_of(own, FIELDS), strict=True):
        again = ColumnDistance(mine, theirs)
        assert again(np.ones(300), np.ones(200)) == pytest.approx(mine.distance(theirs))
        twice = np.concatenate([np.full(150, 2.0), np.zeros(150)])
        half = columns_of(made.cut(0, 150), FIELDS)[[field.name for field in FIELDS].index(mine.name)]
        assert again(twice, np.ones(200)) == pytest.approx(half.distance(theirs))
        assert np.isnan(again(np.zeros(300), np.ones(200)))


def test_associations_of_rows_counted_twice_are_those_of_rows_that_stand_twice() -> None:
    batch = table(120, 4)
    counts = np.random.default_rng(0).integers(0, 4, 120).astype(np.float64)
    rows = np.repeat(np.arange(120), counts.astype(int))
    repeated = RowBatch(
        {name: v[rows] for name, v in batch.values.items()}, {name: m[rows] for name, m in batch.missing.items()}
    )
    one, other = columns_of(batch, FIELDS), columns_of(repeated, FIELDS)
    for i, j in ((0, 1), (0, 2), (2, 3), (3, 1)):
        assert association(one[i], one[j], counts) == pytest.approx(association(other[i], other[j]))


def test_standard_errors_are_the_deviations_over_samples() -> None:
    """The errors that are said of samples of two laws are the deviations of what is found in 200 such samples."""

    def samples(seed: int) -> tuple[RowBatch, RowBatch]:
        return table(250, seed, shift=0.6, together=0.2), table(250, 1000 + seed)

    said = [column_differences(*samples(seed), FIELDS) for seed in range(4)]
    found = []
    for seed in range(200):
        made, own = (columns_of(batch, FIELDS) for batch in samples(seed))
        share = made[2].missing_share - own[2].missing_share
        found.append((made[0].distance(own[0]), association(*made[:2]) - association(*own[:2]), share))
    distance, pair, share = np.array(found, dtype=float).std(axis=0, ddof=1)
    pairs = [next(p for p in one["pairs"]["largest"] if p["columns"] == ["age", "visits"]) for one in said]
    assert 0.8 < np.mean([one["columns"][0]["standard_error"] for one in said]) / distance < 1.25
    assert 0.8 < np.mean([one["difference"]["standard_error"] for one in pairs]) / pair < 1.25
    assert 0.8 < np.mean([one["columns"][2]["missing_difference"]["standard_error"] for one in said]) / share < 1.25
    assert np.mean([one["difference"]["value"] for one in pairs]) == pytest.approx(-0.6, abs=0.1)


def test_the_error_of_a_series_is_that_of_its_rows_not_of_its_steps() -> None:
    generator = np.random.default_rng(8)
    fields = (Field("rows", np.dtype(np.float32), (50, 1)),)
    levels = [generator.standard_normal((100, 1, 1)).repeat(50, axis=1).astype(np.float32) for _ in range(2)]
    (speed,) = column_differences(*(RowBatch({"rows": rows}) for rows in levels), fields, names=("speed",))["columns"]
    assert speed["standard_error"] > 0.03  # 5,000 free steps would give 0.01
