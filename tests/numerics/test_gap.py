"""The share of the gap between prior and reconstructions that a candidate closes, with an error that covers."""

import numpy as np
import pytest

from workers.diagnostics.gap import gap_closed
from workers.diagnostics.kernel import kernel_distance, kernel_distance_difference

Samples = list[np.ndarray]


def samples(n: int, seed: int, *, prior: float = 1.5, candidate: float = 0.75) -> Samples:
    """prior, candidate and reconstruction, moved along one axis by so much, and the reference; prior and candidate
    share their noise."""
    noise, other, reference = np.random.default_rng(seed).standard_normal((3, n, 3))
    axis = np.eye(3)[0]
    return [noise + prior * axis, noise + candidate * axis, other, reference]


def test_it_is_the_ratio_of_kernel_distances() -> None:
    prior, candidate, reconstruction, reference = samples(200, 0)
    distance = [kernel_distance(x, reference).value for x in (prior, candidate, reconstruction)]
    found = gap_closed(prior, candidate, reconstruction, reference)
    assert found is not None
    assert found.value == pytest.approx((distance[0] - distance[1]) / (distance[0] - distance[2]))
    assert gap_closed(prior, prior, reconstruction, reference).value == 0.0
    whole = gap_closed(prior, reconstruction, reconstruction, reference)
    assert (whole.value, whole.standard_error) == pytest.approx((1.0, 0.0))


def test_without_a_gap_nothing_is_said() -> None:
    """Shown only where the gap exceeds three of its errors."""
    shown = {}
    for shift in (0.0, 0.4, 0.8, 1.6):
        prior, candidate, reconstruction, reference = samples(100, 1, prior=shift)
        gap = kernel_distance_difference(prior, reconstruction, reference)
        shown[shift] = gap_closed(prior, candidate, reconstruction, reference) is not None
        assert shown[shift] == (gap.value > 3 * gap.standard_error)
    assert shown[1.6]
    assert not shown[0.0]


def test_the_error_covers_the_share_of_a_very_large_sample() -> None:
    """60 repetitions at n = 150: two errors cover in 90 % at least; fewer than 51 have a chance of 0.1 % at 95 %."""
    truth = gap_closed(*samples(4_000, 2)).value
    found = [gap_closed(*samples(150, 100 + seed)) for seed in range(60)]
    assert None not in found
    inside = sum(abs(each.value - truth) <= 2 * each.standard_error for each in found)
    assert inside >= 51
    values, errors = [each.value for each in found], [each.standard_error for each in found]
    assert np.median(errors) < 2.5 * np.std(values)
