"""One density per label: its parameters, its draws, its density, and what a conditional model is told of it."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from latentmill.errors import DataError, InvalidLabels
from latentmill.specs import Gaussian, Mixture
from tests.numerics.planted import encoding_of, fitted, matched
from workers.posteriors import Encoding, LabelledDensity, density_of
from workers.posteriors.split import split_rows
from workers.randomness import Stream, normals, uniforms

CLASSES = ("2", "10", "a.b")  # in the order of their numbers; by their text 10 comes first
CENTRES = np.array([[-2.0, 0.0], [1.0, 1.0], [1.0, -2.0]])


def labelled(rows: int, counts: tuple[float, ...] = (0.2, 0.5, 0.3), spread: float = 0.5) -> Encoding:
    generator = np.random.default_rng(4)
    labels = generator.choice(3, rows, p=counts).astype(np.int32)
    plain = encoding_of(CENTRES[labels] + spread * generator.standard_normal((rows, 2)), 0.3)
    return Encoding(plain.mean, plain.std, labels, plain.row_digests, CLASSES)


@pytest.mark.parametrize("family", [Gaussian(), Gaussian(covariance="diagonal"), Mixture(components=2)])
def test_parameters_are_named_by_label_and_weighed_by_frequency(family: Gaussian | Mixture) -> None:
    encoding = labelled(3_000)
    fit = fitted(encoding, family, by_label=True)
    assert encoding.labels is not None
    rows = np.arange(3_000)
    if isinstance(family, Mixture):
        rows = split_rows(encoding.row_digests, encoding.labels, seed=0, holdout=0.1).training
    weights = np.bincount(encoding.labels[rows]) / len(rows)
    np.testing.assert_allclose(fit.parameters["label_weights"], weights[[1, 0, 2]])
    assert fit.diagnostics["labels"] == pytest.approx(dict(zip(CLASSES, weights, strict=True)))
    assert fit.diagnostics["rows_used"] == len(rows)
    names = {"mean", "covariance"} if family == Gaussian() else {"mean", "variance"}
    names = {"weights", "means", "covariances"} if isinstance(family, Mixture) else names
    assert set(fit.parameters) == {"label_weights"} | {f"label.{c}.{name}" for c in CLASSES for name in names}
    if family == Gaussian():
        mine = encoding.mean[encoding.labels == 2].astype(float)
        np.testing.assert_allclose(fit.parameters["label.a.b.mean"], mine.mean(axis=0), atol=1e-12)
        expected = np.cov(mine.T, bias=True) + 0.09 * np.eye(2)
        np.testing.assert_allclose(fit.parameters["label.a.b.covariance"], expected, atol=1e-7)


def test_its_density_is_the_mixture_of_its_parts() -> None:
    fit = fitted(labelled(2_000), Gaussian(), by_label=True)
    density = density_of(fit.family, fit.parameters)
    assert isinstance(density, LabelledDensity)
    assert density.classes == ("10", "2", "a.b")
    points = np.random.default_rng(0).standard_normal((200, 2))
    parts = [
        stats.multivariate_normal(fit.parameters[f"label.{c}.mean"], fit.parameters[f"label.{c}.covariance"])
        for c in density.classes
    ]
    joint = np.array([part.logpdf(points) for part in parts])
    expected = logsumexp(joint + np.log(fit.parameters["label_weights"])[:, None], axis=0)
    np.testing.assert_allclose(density.log_density(points), expected, rtol=1e-11)
    given = np.arange(200) % 3
    np.testing.assert_allclose(density.log_density_given(points, given), joint[given, np.arange(200)], rtol=1e-11)


def test_draws_are_those_of_the_parts_in_their_proportions() -> None:
    """Kolmogorov-Smirnov of each label's draws against its own part, false alarm 1e-3 in all; counts within 4 sd."""
    fit = fitted(labelled(2_000), Mixture(components=2), by_label=True)
    density = density_of(fit.family, fit.parameters)
    assert isinstance(density, LabelledDensity)
    noise, choices = normals(1, Stream.LATENTS, 0, 20_000, 2), uniforms(1, Stream.CHOICES, 0, 20_000)
    mixed = density.draw(noise, choices)
    chosen = np.searchsorted(np.cumsum(density.weights), choices, side="right")
    for number, part in enumerate(density.parts):
        mine = mixed[chosen == number]
        assert abs(len(mine) / 20_000 - density.weights[number]) < 4 * 0.5 / np.sqrt(20_000)
        alone = density.draw_given(np.full(20_000, number), noise[::-1].copy(), choices[::-1].copy())
        np.testing.assert_array_equal(alone, part.draw(noise[::-1].copy(), choices[::-1].copy()))
        for axis in range(2):
            assert stats.ks_2samp(mine[:, axis], alone[:, axis]).pvalue > 1e-3 / 6


def test_an_unconditional_decoder_is_judged_by_the_mixture_of_labels() -> None:
    encoding = labelled(2_000)
    fit = fitted(encoding, Gaussian(), by_label=True)
    assert "label_information" not in fit.diagnostics
    split = split_rows(encoding.row_digests, encoding.labels, seed=0, holdout=0.1)
    assert encoding.labels is not None
    training, labels = split.training, encoding.labels
    parts = []
    for number in range(3):
        mine = encoding.mean[training[labels[training] == number]].astype(float)
        parts.append(stats.multivariate_normal(mine.mean(axis=0), np.cov(mine.T, bias=True) + 0.3**2 * np.eye(2)))
    noise = normals(0, Stream.HOLDOUT_DRAWS, 0, 200, 8).reshape(200, 4, 2)
    draws = encoding.mean[split.holdout].astype(float)[:, None] + float(np.float32(0.3)) * noise
    joint = np.array([part.logpdf(draws) for part in parts])
    log_weights = np.log(np.bincount(labels[training]) / len(training))
    expected = -logsumexp(joint + log_weights[:, None, None], axis=0).mean()
    assert fit.diagnostics["holdout_nll"] == pytest.approx(expected, rel=1e-6)
    given = fitted(encoding, Gaussian(), by_label=True, conditional=True).diagnostics
    own = np.take_along_axis(joint, labels[split.holdout][None, :, None], axis=0)[0]
    assert given["holdout_nll"] == pytest.approx(-own.mean(), rel=1e-6)
    assert given["label_information"]["value"] == pytest.approx(expected + own.mean(), rel=1e-5)


def test_what_labels_tell_is_their_entropy_where_clusters_are_far_apart() -> None:
    """I(z; y) = H(y) for clusters that do not overlap; 0 for labels that have nothing to do with z."""
    apart = labelled(6_000, spread=0.05)
    told = fitted(
        Encoding(20 * apart.mean, apart.std, apart.labels, apart.row_digests, CLASSES),
        Gaussian(), by_label=True, conditional=True,
    ).diagnostics["label_information"]  # fmt: skip
    assert abs(told["value"] - stats.entropy([0.2, 0.5, 0.3])) < 4 * told["standard_error"] + 0.02
    plain = matched(6_000, 2)
    labels = np.random.default_rng(1).integers(0, 3, 6_000).astype(np.int32)
    unrelated = Encoding(plain.mean, plain.std, labels, plain.row_digests, CLASSES)
    told = fitted(unrelated, Gaussian(), by_label=True, conditional=True).diagnostics["label_information"]
    assert abs(told["value"]) < 4 * told["standard_error"] + 0.01


def test_inert_dimensions_are_those_of_all_rows() -> None:
    encoding = labelled(2_000)
    wide = np.concatenate([encoding.mean, np.zeros((2_000, 1))], axis=1).astype(np.float32)
    std = np.concatenate([encoding.std, np.ones((2_000, 1))], axis=1).astype(np.float32)
    fit = fitted(
        Encoding(wide, std, encoding.labels, encoding.row_digests, CLASSES), Mixture(components=2), by_label=True
    )
    assert fit.diagnostics["inert_dimensions"] == [2]
    for name in CLASSES:
        np.testing.assert_array_equal(fit.parameters[f"label.{name}.covariances"][:, 2], [[0, 0, 1]] * 2)


def test_labels_that_cannot_have_a_density_of_their_own_are_named() -> None:
    few = labelled(1_000, (0.55, 0.03, 0.42))
    with pytest.raises(DataError, match=r'label .10. has 19 rows .* needs 50; .*"covariance": "diagonal"') as caught:
        fitted(few, Gaussian(), by_label=True)
    assert caught.value.errors[0].pointer == "/family/covariance"
    assert fitted(few, Gaussian(covariance="diagonal"), by_label=True).diagnostics["gain"]["value"] > 0
    with pytest.raises(DataError, match=r"Label '10': 40 components for 19 rows"):
        fitted(few, Mixture(components=40, covariance="diagonal"), by_label=True)
    one = labelled(300)
    assert one.labels is not None
    one.labels[one.labels == 1] = 0
    one.labels[7] = 1
    with pytest.raises(DataError, match=r"label '10' has \d rows to learn from, and 0 to choose by: too few"):
        fitted(one, Mixture(covariance="diagonal"), by_label=True)
    with pytest.raises(InvalidLabels, match="needs a dataset with labels"):
        fitted(matched(200, 2), Gaussian(), by_label=True)


def test_what_is_left_open_is_resolved_for_each_label() -> None:
    """Label a.b has two clusters, the others one: the family shows the largest number."""
    plain = labelled(1_500)
    assert plain.labels is not None
    apart = plain.mean + np.where((plain.labels == 2) & (np.arange(1_500) % 2 == 0), 8.0, 0.0)[:, None]
    encoding = Encoding(apart.astype(np.float32), plain.std, plain.labels, plain.row_digests, CLASSES)
    fit = fitted(encoding, Mixture(), by_label=True)
    assert [len(fit.parameters[f"label.{name}.weights"]) for name in CLASSES] == [1, 1, 2]
    assert fit.family == Mixture(components=2)
