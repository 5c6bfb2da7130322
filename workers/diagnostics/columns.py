"""Columns one by one and two by two: where generated tables and series differ from the reference."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.association import association
from workers.diagnostics.bootstrap import resampled_counts
from workers.diagnostics.column import Column, columns_of
from workers.diagnostics.column_distance import ColumnDistance
from workers.posteriors.estimate import Estimate
from workers.rows import Field, RowBatch

MAX_PAIRED_COLUMNS = 60  # 1,770 pairs; how many columns were paired is stated
SHOWN_PAIRS = 10
MOST_RESAMPLED = 2**22  # values of both samples' columns together: some seconds

Floats = NDArray[np.float64]


def column_differences(
    generated: RowBatch,
    reference: RowBatch,
    fields: Sequence[Field],
    *,
    floor: RowBatch | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How each column, and each pair of columns, of `generated` differs from the reference's, as JSON.

    columns: for numbers the 1-Wasserstein distance in standard deviations of the reference; for categories and
    booleans the total variation distance; `missing` shares of both. pairs: correlation of two columns of numbers,
    Cramer's V of two of categories, correlation ratio of one of each: the mean absolute difference, and the largest.
    A series (one field, (steps, features)) has its features as columns, named by `names`, over all steps.

    Standard errors are those of 200 resamples of the rows of both, of the distances and of the pairs that differ most
    (who lead of many partly by chance), and null where that would take too long; of shares sqrt(p (1 - p) / n).

    floor: real rows that are not the reference's, equally many: what remains where nothing is wrong, given as `floor`
    beside each difference.
    """
    made, own = columns_of(generated, fields, names), columns_of(reference, fields, names)
    real = None if floor is None else columns_of(floor, fields, names)
    pairs = _pairs(made, own, real)
    differences = [
        _difference(column, own[number], None if real is None else real[number]) for number, column in enumerate(made)
    ]
    _add_errors(differences, pairs, made, own, rows=(generated.rows, reference.rows), seed=seed)
    return {"columns": differences, "pairs": pairs}


def _difference(made: Column, own: Column, real: Column | None) -> dict[str, Any]:
    share, own_share = made.missing_share, own.missing_share
    errors = (share * (1 - share) / len(made.values), own_share * (1 - own_share) / len(own.values))
    found: dict[str, Any] = {
        "name": made.name,
        "measure": "total variation" if made.is_category else "wasserstein / sd",
        "distance": made.distance(own),
        "standard_error": None,
        "missing": share,
        "missing_reference": own_share,
        "missing_difference": Estimate(share - own_share, sqrt(sum(errors))).as_json(),
    }
    if real is not None:
        found["floor"] = real.distance(own)
    return found


def _pairs(made: Sequence[Column], own: Sequence[Column], real: Sequence[Column] | None) -> dict[str, Any] | None:
    """What is said of all pairs among the first columns; None where there is but one."""
    paired = min(len(made), MAX_PAIRED_COLUMNS)
    if paired < 2:
        return None
    in_made, in_own = _associations(made[:paired]), _associations(own[:paired])
    first, second = np.triu_indices(paired, k=1)
    difference = np.abs(in_made - in_own)
    found: dict[str, Any] = {
        "columns": paired,
        "of": len(made),
        "mean_difference": float(difference.mean()),
        "largest_difference": float(difference.max()),
        "largest": [
            {
                "columns": [made[first[pair]].name, made[second[pair]].name],
                "measure": _measure(own[first[pair]], own[second[pair]]),
                "generated": float(in_made[pair]),
                "reference": float(in_own[pair]),
                "difference": {"value": float(in_made[pair] - in_own[pair]), "standard_error": None},
            }
            for pair in np.argsort(-difference, kind="stable")[:SHOWN_PAIRS].tolist()
        ],
    }
    if real is not None:
        floor = np.abs(_associations(real[:paired]) - in_own)
        found |= {"floor_mean_difference": float(floor.mean()), "floor_largest_difference": float(floor.max())}
    return found


def _associations(columns: Sequence[Column]) -> Floats:
    """Of each pair i < j, row by row of the upper triangle."""
    return np.array([association(one, other) for i, one in enumerate(columns) for other in columns[i + 1 :]])


def _measure(one: Column, other: Column) -> str:
    categories = one.is_category + other.is_category
    return ("correlation", "correlation ratio", "cramers v")[categories]


def _add_errors(
    differences: list[dict[str, Any]],
    pairs: dict[str, Any] | None,
    made: Sequence[Column],
    own: Sequence[Column],
    *,
    rows: tuple[int, int],
    seed: int,
) -> None:
    """The standard errors of distances, and of the pairs that differ most: deviations over resamples of the rows."""
    if sum(len(column.values) for column in (*made, *own)) > MOST_RESAMPLED:
        return
    distances = [ColumnDistance(*both) for both in zip(made, own, strict=True)]
    places = {column.name: place for place, column in enumerate(made)}
    leading = [] if pairs is None else pairs["largest"]
    chosen = [tuple(places[name] for name in pair["columns"]) for pair in leading]
    steps = len(made[0].values) // rows[0]  # of a series: a row is drawn with all its steps
    found: list[list[float]] = []
    for counts in resampled_counts(*rows, seed=seed):
        mine, theirs = (np.repeat(each, steps) for each in counts)
        found.append(
            [distance(mine, theirs) for distance in distances]
            + [association(made[i], made[j], mine) - association(own[i], own[j], theirs) for i, j in chosen]
        )
    errors = [float(error) if np.isfinite(error) else None for error in np.array(found).std(axis=0, ddof=1)]
    for difference, error in zip(differences, errors[: len(differences)], strict=True):
        difference["standard_error"] = error if difference["distance"] is not None else None
    for pair, error in zip(leading, errors[len(differences) :], strict=True):
        pair["difference"]["standard_error"] = error
