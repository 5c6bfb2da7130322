"""Strategies: the latents of row i are the same whatever is asked beside it, and are what the strategy says."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from latentmill.errors import Internal, InvalidLabels, InvalidRequest, ModelMismatch, NotReady
from latentmill.specs import Aggregate, Auto, LabelCounts, Mixture, Posterior, Prior, VaeManifest
from latentmill.specs.bundle import MixturePrior
from tests.numerics.planted import encoding_of
from workers.posteriors import Density, Encoding, declared_prior, density_of, standard_normal
from workers.randomness import Stream, normals, uniforms
from workers.sampling import LatentSource, open_strategy

SIZE = 6


def manifest(classes: list[str] | None = None, size: int = SIZE) -> VaeManifest:
    return VaeManifest.model_validate(
        {
            "schema": 1,
            "name": "m",
            "engine": "torch",
            "latent": {"shape": [size]},
            "rows": {"kind": "tensor", "shape": [4]},
            "encoder": {},
            "labels": None if classes is None else {"classes": classes},
            "architecture": {"name": "mlp"},
        }
    )


def mixture(size: int = SIZE) -> Density:
    generator = np.random.default_rng(0)
    roots = generator.standard_normal((5, size, size))
    return density_of(
        Mixture(components=5),
        {
            "weights": np.array([0.1, 0.1, 0.2, 0.3, 0.3]),
            "means": generator.standard_normal((5, size)),
            "covariances": roots @ roots.transpose(0, 2, 1) + np.eye(size),
        },
    )


def encoding(rows: int = 50, classes: tuple[str, ...] | None = None) -> Encoding:
    generator = np.random.default_rng(1)
    made = encoding_of(generator.standard_normal((rows, SIZE)), generator.random((rows, SIZE)))
    labels = None if classes is None else (np.arange(rows) % len(classes)).astype(np.int32)
    return Encoding(made.mean, made.std, labels, made.row_digests, classes)


def source(kind: str, rows: int = 5_000) -> LatentSource:
    labelled = manifest(["a", "b", "c"])
    made = encoding(classes=("c", "a"))
    return {
        "prior": lambda: open_strategy(Prior(), seed=5, rows=rows, manifest=manifest(), density=standard_normal(SIZE)),
        "mixture": lambda: open_strategy(
            Aggregate(fit="f", temperature=0.8), seed=5, rows=rows, manifest=labelled, density=mixture()
        ),
        "posterior": lambda: open_strategy(Posterior(dataset="d"), seed=5, rows=rows, manifest=labelled, encoding=made),
        "wide": lambda: open_strategy(
            Prior(), seed=5, rows=rows, manifest=manifest(size=10_000), density=standard_normal(10_000)
        ),
    }[kind]()


@pytest.mark.parametrize("kind", ["prior", "mixture", "posterior", "wide"])
def test_no_border_changes_a_row(kind: str) -> None:
    rows = 5_000 if kind != "wide" else 900
    whole = source(kind, rows).latents(0, rows)
    assert whole.latents.dtype == np.float32
    for borders in ([0, 1, 2, 63, 64, 1_000], [0, 700, 1_025, 2_048], [0, 333, 334]):
        one = source(kind, rows)
        ends = [border for border in borders if border < rows] + [rows]
        for first, last in reversed(list(pairwise(ends))):  # late shards first, by one source
            part = one.latents(first, last - first)
            np.testing.assert_array_equal(part.latents, whole.latents[first:last])
            if whole.labels is not None:
                np.testing.assert_array_equal(part.labels, whole.labels[first:last])
    beyond = source(kind, rows).latents(rows - 10, 40)
    np.testing.assert_array_equal(beyond.latents[:10], whole.latents[-10:])
    assert len(np.unique(beyond.latents[:, 0])) == 40


def test_the_number_of_rows_of_the_job_changes_no_latent() -> None:
    np.testing.assert_array_equal(
        source("mixture", 100).latents(0, 100).latents, source("mixture").latents(0, 100).latents
    )


def test_latents_are_the_densitys_map_of_the_noise() -> None:
    found = source("mixture").latents(1_024, 1_024).latents
    noise, choice = normals(5, Stream.LATENTS, 1_024, 1_024, SIZE), uniforms(5, Stream.CHOICES, 1_024, 1_024)
    np.testing.assert_array_equal(found, mixture().draw(noise, choice, 0.8).astype(np.float32))
    prior = open_strategy(
        Prior(temperature=2.0), seed=5, rows=10, manifest=manifest(), density=standard_normal(SIZE)
    ).latents(0, 10)
    np.testing.assert_array_equal(prior.latents, (2 * normals(5, Stream.LATENTS, 0, 10, SIZE)).astype(np.float32))
    assert prior.labels is None


def test_a_learned_prior_keeps_its_means_at_every_temperature() -> None:
    """A mixture that the bundle declares is drawn from as a fit is: the temperature widens its components alone."""
    model = manifest().model_copy(update={"prior": MixturePrior()})
    parameters = {
        "weights": np.array([0.3, 0.7]),
        "means": np.array([[-9.0] * SIZE, [9.0] * SIZE]),
        "variances": np.ones((2, SIZE)),
    }
    cool, usual = (
        open_strategy(
            Prior(temperature=t), seed=1, rows=2_000, manifest=model, density=declared_prior(model, parameters)
        ).latents(0, 2_000).latents
        for t in (0.1, 1.0)
    )  # fmt: skip
    centre = np.where(cool > 0, 9.0, -9.0)
    np.testing.assert_allclose(cool - centre, 0.1 * (usual - centre), atol=1e-5)
    assert stats.binomtest(int((cool[:, 0] > 0).sum()), 2_000, 0.7).pvalue > 1e-4


def test_a_job_draws_other_noise_than_the_fit_learned_from() -> None:
    """Kolmogorov-Smirnov of 5,000 prior rows at false alarm 1e-3 per dimension, and no number shared with fit draws."""
    latents = source("prior").latents(0, 5_000).latents
    assert min(stats.kstest(column, "norm").pvalue for column in latents.T) > 1e-3 / SIZE
    learned = normals(5, Stream.FIT_DRAWS, 0, 5_000, SIZE).astype(np.float32)
    assert len(np.intersect1d(latents, learned)) < 1_000  # float32 grids meet by chance, about 300 times here


def test_posterior_takes_its_rows_in_turn() -> None:
    made = encoding()
    for select, turn in (("all", np.arange(50)), ({"rows": [7, 3, 7]}, np.array([7, 3, 7]))):
        strategy = Posterior.model_validate({"dataset": "d", "select": select, "temperature": 0.5})
        found = open_strategy(strategy, seed=2, rows=130, manifest=manifest(), encoding=made).latents(0, 130)
        around = turn[np.arange(130) % len(turn)]
        noise = normals(2, Stream.LATENTS, 0, 130, SIZE)
        expected = made.mean[around].astype(float) + 0.5 * made.std[around].astype(float) * noise
        np.testing.assert_allclose(found.latents, expected, rtol=1e-6)


def test_temperature_zero_reconstructs() -> None:
    made = encoding()
    found = open_strategy(
        Posterior(dataset="d", temperature=0), seed=2, rows=60, manifest=manifest(), encoding=made
    ).latents(0, 60)
    np.testing.assert_array_equal(found.latents, made.mean[np.arange(60) % 50])


def test_posterior_of_a_label_keeps_to_it_and_labels_are_matched_by_text() -> None:
    made = encoding(classes=("c", "a"))
    strategy = Posterior.model_validate({"dataset": "d", "select": {"label": "a"}, "temperature": 0})
    found = open_strategy(strategy, seed=2, rows=30, manifest=manifest(["a", "b", "c"]), encoding=made).latents(0, 30)
    np.testing.assert_array_equal(found.latents, made.mean[1::2][np.arange(30) % 25])
    np.testing.assert_array_equal(found.labels, 0)
    everything = source("posterior").latents(0, 4).labels
    assert everything.tolist() == [2, 0, 2, 0]


def test_labels_have_the_counts_of_the_job() -> None:
    labelled, normal = manifest(["a", "b", "c"]), standard_normal(SIZE)
    balanced = source("mixture", 3_000).latents(0, 3_000).labels
    assert np.bincount(balanced).tolist() == [1_000, 1_000, 1_000]
    chosen = Prior(labels=LabelCounts(counts={"c": 70, "a": 30}))
    for options in ({"strategy": chosen}, {"strategy": Prior(), "counts": {"a": 30, "b": 0, "c": 70}}):
        first, second = (
            open_strategy(**options, seed=seed, rows=100, manifest=labelled, density=normal).latents(0, 100)
            for seed in (0, 1)
        )
        assert np.bincount(first.labels, minlength=3).tolist() == [30, 0, 70]
        np.testing.assert_array_equal(first.labels, second.labels)  # the counts and the row decide, not the seed
        assert (first.latents != second.latents).all()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"strategy": Prior()}, NotReady, "density"),
        ({"strategy": Posterior(dataset="d")}, NotReady, "encoding"),
        ({"strategy": Prior(), "density": standard_normal(3)}, ModelMismatch, "6 latent values"),
        ({"strategy": Prior(labels="balanced"), "density": standard_normal(SIZE)}, InvalidLabels, "not conditional"),
        ({"strategy": Auto(dataset="d")}, Internal, "resolved before"),
        (
            {"strategy": Posterior.model_validate({"dataset": "d", "select": {"rows": [50]}}), "encoding": encoding()},
            InvalidRequest,
            "rows 0 to 49",
        ),
        (
            {"strategy": Posterior.model_validate({"dataset": "d", "select": {"label": "a"}}), "encoding": encoding()},
            InvalidLabels,
            "no labels",
        ),
        (
            {
                "strategy": Posterior.model_validate({"dataset": "d", "select": {"label": "x"}}),
                "encoding": encoding(classes=("a", "b")),
            },
            InvalidLabels,
            "no label 'x'",
        ),
        (
            {
                "strategy": Posterior(dataset="d"),
                "encoding": encoding(classes=("a", "x")),
                "manifest": manifest(["a", "b"]),
            },
            InvalidLabels,
            "no class 'x'",
        ),
    ],
)
def test_what_a_strategy_lacks_is_named(options: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        open_strategy(**{"seed": 0, "rows": 10, "manifest": manifest(), **options})
