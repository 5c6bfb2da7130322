"""Precision, recall, density, coverage: against loops over pairs, on copies, and their errors where balls stand."""

import numpy as np
import pytest

from workers.diagnostics.neighbours import manifold_scores

SCORES = ("precision", "recall", "density", "coverage")


def by_loops(x: np.ndarray, y: np.ndarray, k: int) -> dict[str, list[float]]:
    """What each row adds to each score, pair by pair."""

    def reach(z: np.ndarray) -> list[float]:
        return [sorted(np.linalg.norm(z[i] - z[j]) for j in range(len(z)) if j != i)[k - 1] for i in range(len(z))]

    of_x, of_y = reach(x), reach(y)
    distance = [[float(np.linalg.norm(a - b)) for b in y] for a in x]
    n = range(len(x))
    return {
        "precision": [float(any(distance[i][j] <= of_y[j] for j in n)) for i in n],
        "recall": [float(any(distance[i][j] <= of_x[i] for i in n)) for j in n],
        "density": [sum(distance[i][j] <= of_y[j] for j in n) / k for i in n],
        "coverage": [float(any(distance[i][j] <= of_y[j] for i in n)) for j in n],
    }


@pytest.mark.parametrize(("shift", "scale", "k"), [(0.0, 1.0, 5), (0.6, 0.7, 3), (0.3, 1.8, 2)])
def test_scores_agree_with_brute_force(shift: float, scale: float, k: int) -> None:
    generator = np.random.default_rng(int(10 * scale))
    x, y = generator.standard_normal((2, 70, 3))
    x = 5.0 + shift + scale * x
    y = 5.0 + y
    found, expected = manifold_scores(x, y, k), by_loops(x, y, k)
    assert tuple(found) == SCORES
    for name, values in expected.items():
        assert found[name].value == pytest.approx(np.mean(values), rel=1e-12)
        assert found[name].standard_error == pytest.approx(np.std(values, ddof=1) / 70**0.5, rel=1e-9)
    assert shift == 0.0 or found["precision"].value != found["recall"].value


def test_blocks_do_not_change_the_scores() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((2, 1_100, 4))
    squares = ((x[:, None, :] - y) ** 2).sum(axis=2)
    reach = [
        np.sort(((z[:, None, :] - z) ** 2).sum(axis=2), axis=1)[:, 5] for z in (x, y)
    ]  # column 0 is the row itself
    found = manifold_scores(x, y)
    assert found["precision"].value == (squares <= reach[1]).any(axis=1).mean()
    assert found["recall"].value == (squares <= reach[0][:, None]).any(axis=0).mean()
    assert found["density"].value == pytest.approx((squares <= reach[1]).sum(axis=1).mean() / 5)
    assert found["coverage"].value == (squares <= reach[1]).any(axis=0).mean()


def test_rows_that_occur_many_times_are_within_their_own_balls() -> None:
    """Rows of categories alone: balls of radius 0 still hold what equals their centre, whatever rounding does."""
    points = np.random.default_rng(2).standard_normal((6, 9)) * 40.0
    generator = np.random.default_rng(3)
    same, reference = points[generator.integers(0, 6, (2, 200))]
    for name in ("precision", "recall", "coverage"):
        assert manifold_scores(same, reference)[name].value == 1.0
    others = points[generator.integers(0, 3, 200)]
    found = manifold_scores(others, reference)
    assert found["precision"].value == 1.0
    expected = np.mean([np.any(np.all(row == points[:3], axis=1)) for row in reference])
    assert found["coverage"].value == found["recall"].value == pytest.approx(expected)
    assert manifold_scores(same + 1.0, reference)["precision"].value == 0.0


def test_a_missing_mode_costs_recall_and_an_invented_one_precision() -> None:
    generator = np.random.default_rng(4)
    near, far = generator.standard_normal((2, 300, 2))
    both = near + np.where(np.arange(300)[:, None] % 3 == 0, 30.0, 0.0)
    dropped, invented = manifold_scores(far, both), manifold_scores(both, far)
    assert dropped["precision"].value > 0.9 > 0.75 > dropped["recall"].value
    assert invented["precision"].value == pytest.approx(dropped["recall"].value)
    assert dropped["coverage"].value < 0.7 < 0.9 < manifold_scores(near, far)["coverage"].value


def test_the_error_of_precision_covers_given_the_balls() -> None:
    """Precision is a mean over independent rows given the reference: 300 samples; 95 % +- 4 errors of that share."""
    generator = np.random.default_rng(5)
    reference = generator.standard_normal((100, 2))
    found = [manifold_scores(1.5 * generator.standard_normal((100, 2)), reference)["precision"] for _ in range(300)]
    values, errors = np.array([f.value for f in found]), np.array([f.standard_error for f in found])
    assert values.std() == pytest.approx(errors.mean(), rel=0.2)
    assert (np.abs(values - values.mean()) <= 1.96 * errors).mean() > 0.95 - 4 * (0.95 * 0.05 / 300) ** 0.5


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        manifold_scores(np.zeros((5, 2)), np.zeros((5, 2)))
