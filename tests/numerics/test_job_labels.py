"""Labels of a job: counts that add up exactly, and with a fit by label each row from the density of its own label."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from latentmill.errors import InvalidLabels
from latentmill.specs import Aggregate, LabelCounts, Posterior, Prior, VaeManifest
from latentmill.specs.labels import label_counts, shared_out
from tests.numerics.planted import encoding_of
from workers.posteriors import Encoding, standard_normal
from workers.posteriors.gaussian import DiagonalGaussian
from workers.posteriors.labelled import LabelledDensity
from workers.posteriors.mixture import GaussianMixture
from workers.sampling import LatentSource, open_strategy

SIZE, ROWS = 3, 6_000
CENTRES = {"a": -20.0, "b": 0.0, "c": 30.0}


def manifest(classes: list[str] | None = None) -> VaeManifest:
    return VaeManifest.model_validate(
        {"name": "m", "engine": "torch", "latent": {"shape": [SIZE]}, "rows": {"kind": "tensor", "shape": [4]},
         "labels": None if classes is None else {"classes": classes}, "architecture": {"name": "mlp"}}
    )  # fmt: skip


def by_label(weights: tuple[float, ...] = (0.5, 0.2, 0.3)) -> LabelledDensity:
    """One part around each of three centres far apart; that of 'b' is a mixture, which makes a choice of its own."""
    ones = np.ones(SIZE)
    parts = [
        DiagonalGaussian(CENTRES["a"] * ones, ones),
        GaussianMixture(np.array([0.25, 0.75]), np.array([-2.0 * ones, 2.0 * ones]), np.array([ones, ones]) / 100),
        DiagonalGaussian(CENTRES["c"] * ones, 4.0 * ones),
    ]
    return LabelledDensity(list(CENTRES), np.array(weights), parts)


def drawn(strategy=None, *, rows: int = ROWS, seed: int = 4, classes: list[str] | None = None, **given) -> LatentSource:
    chosen = strategy or Aggregate(fit="f")
    return open_strategy(chosen, seed=seed, rows=rows, manifest=manifest(classes), **{"density": by_label(), **given})


def labelled_encoding() -> Encoding:
    """60 rows: 30 of 'c', 20 of 'a', 10 of 'b'."""
    made = encoding_of(np.random.default_rng(0).standard_normal((60, SIZE)), 0.1)
    return Encoding(
        made.mean, made.std, np.repeat([0, 1, 2], [30, 20, 10]).astype(np.int32), made.row_digests, ("c", "a", "b")
    )


@pytest.mark.parametrize(
    ("weights", "rows", "expected"),
    [
        ([0.5, 0.2, 0.3], 10, [5, 2, 3]),
        ([1, 1, 1], 10, [4, 3, 3]),
        ([1, 1, 1], 11, [4, 4, 3]),
        (
            [47_000, 16_000, 15_800, 12_000, 6_100, 3_100],
            10,
            [5, 2, 1, 1, 1, 0],
        ),  # Hare: remainders .7 .6 .58 .2 .61 .31
        ([0, 1e-300, 3e-300], 4, [0, 1, 3]),
        ([0.1] * 10, 10**12 + 7, [10**11 + 1] * 7 + [10**11] * 3),
    ],
)
def test_the_largest_remainder(weights: list[float], rows: int, expected: list[int]) -> None:
    assert shared_out(weights, rows) == expected


def test_shares_add_up_and_keep_the_quota() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        weights = generator.random(generator.integers(1, 30)) ** 4
        rows = int(generator.integers(1, 10_000))
        counts = np.array(shared_out(weights.tolist(), rows))
        assert counts.sum() == rows
        assert (np.abs(counts - rows * weights / weights.sum()) < 1 + 1e-9).all()


def test_choices_of_labels() -> None:
    classes = ("a", "b", "c")
    assert label_counts(None, classes, 8) == {"a": 3, "b": 3, "c": 2}
    assert label_counts("balanced", classes, 2) == {"a": 1, "b": 1, "c": 0}
    assert label_counts(LabelCounts(counts={"c": 4, "a": 1}), classes, 5) == {"a": 1, "b": 0, "c": 4}
    assert label_counts("as_fitted", classes, 10, proportions={"c": 3, "a": 1}) == {"a": 3, "b": 0, "c": 7}
    for choice, rows, says in (
        (LabelCounts(counts={"c": 4, "a": 1}), 6, "add up to 5, but rows is 6"),
        (LabelCounts(counts={"d": 5}), 5, "not know the label 'd'; it knows a, b, c"),
        ("as_fitted", 5, "no proportions"),
    ):
        with pytest.raises(InvalidLabels, match=says):
            label_counts(choice, classes, rows)
    with pytest.raises(InvalidLabels, match="label 'x'"):
        label_counts("as_fitted", classes, 5, proportions={"a": 0.5, "x": 0.5})


def test_an_unconditional_model_has_the_labels_of_a_fit_by_label() -> None:
    """Without a choice the fit's own proportions, exactly; each row lies with the part of its label."""
    source = drawn()
    assert source.classes == ("a", "b", "c")
    found = source.latents(0, ROWS)
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [3_000, 1_200, 1_800]
    centres = np.array(list(CENTRES.values()))
    nearest = np.abs(found.latents.mean(axis=1)[:, None] - centres).argmin(axis=1)
    np.testing.assert_array_equal(nearest, found.labels)
    for label, spread in ((0, 1.0), (2, 2.0)):  # Kolmogorov-Smirnov at 1e-4 per part
        mine = (found.latents[found.labels == label].ravel() - centres[label]) / spread
        assert stats.kstest(mine, "norm").pvalue > 1e-4
    mixed = found.latents[found.labels == 1][:, 0]
    assert stats.binomtest(int((mixed > 0).sum()), len(mixed), 0.75).pvalue > 1e-4
    assert np.count_nonzero(np.diff(found.labels)) > ROWS / 3  # interleaved, not sorted


@pytest.mark.parametrize("shards", [1, 3, 7])
@pytest.mark.parametrize("choice", [None, "balanced", LabelCounts(counts={"c": 5_999, "a": 1})])
def test_no_border_changes_a_labelled_row(shards: int, choice) -> None:
    strategy = Aggregate(fit="f", labels=choice, temperature=0.7)
    whole, other = drawn(strategy).latents(0, ROWS), drawn(strategy)
    for first, last in reversed(list(pairwise(np.linspace(0, ROWS, shards + 1).astype(int).tolist()))):
        part = other.latents(first, last - first)
        np.testing.assert_array_equal(part.latents, whole.latents[first:last])
        np.testing.assert_array_equal(part.labels, whole.labels[first:last])


def test_the_temperature_is_that_of_each_part() -> None:
    cool = drawn(Aggregate(fit="f", temperature=0.25)).latents(0, ROWS)
    usual = drawn(Aggregate(fit="f", temperature=1)).latents(0, ROWS)
    for label, centre in ((0, CENTRES["a"]), (2, CENTRES["c"])):
        mine = cool.labels == label
        np.testing.assert_allclose(
            cool.latents[mine] - centre, 0.25 * (usual.latents[mine] - centre), rtol=1e-4, atol=1e-5
        )


def test_a_conditional_model_and_a_fit_by_label_share_a_label_by_its_text() -> None:
    found = drawn(Aggregate(fit="f", labels=LabelCounts(counts={"c": 10, "a": 20})), classes=["c", "x", "a"], rows=30)
    assert found.classes == ("c", "x", "a")
    rows = found.latents(0, 30)
    assert np.bincount(rows.labels).tolist() == [10, 0, 20]
    assert (rows.latents[rows.labels == 0] > 15).all()
    assert (rows.latents[rows.labels == 2] < -10).all()
    default = drawn(classes=["c", "b", "a"]).latents(0, ROWS).labels
    assert np.bincount(default).tolist() == [1_800, 1_200, 3_000]
    with pytest.raises(InvalidLabels, match="no density for the label 'x'"):
        drawn(Aggregate(fit="f", labels="balanced"), classes=["c", "b", "x"], rows=30)
    with pytest.raises(InvalidLabels, match="not know the label 'a'"):
        drawn(classes=["c", "b"], rows=30)


def test_counts_of_the_job_decide() -> None:
    found = drawn(rows=10, counts={"a": 1, "b": 0, "c": 9}).latents(0, 10).labels
    assert np.bincount(found).tolist() == [1, 0, 9]


def test_as_fitted_follows_the_rows_that_are_drawn_around() -> None:
    strategy = Posterior(dataset="d", labels="as_fitted")
    found = drawn(strategy, classes=["a", "b", "c"], rows=12, density=None, encoding=labelled_encoding())
    assert np.bincount(found.latents(0, 12).labels).tolist() == [4, 2, 6]


@pytest.mark.parametrize("strategy", [Prior(labels="as_fitted"), Aggregate(fit="f", labels="as_fitted")])
def test_without_proportions_there_is_a_way_out(strategy) -> None:
    with pytest.raises(InvalidLabels, match='say "balanced", or counts'):
        drawn(strategy, classes=["a", "b"], density=standard_normal(SIZE))
