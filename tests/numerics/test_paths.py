"""Paths between means: against rotations in the plane of both ends, exact at the ends, the same for every border."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm

from latentmill.errors import InvalidRequest
from latentmill.specs import Interpolate, LabelCounts, VaeManifest
from tests.numerics.planted import encoding_of
from workers.posteriors import Encoding
from workers.sampling import LatentSource, open_strategy
from workers.sampling.paths import linear_path, spherical_path

SIZE = 6
PAIRS = ((3, 17), (17, 3), (5, 5), (0, 49))


def manifest(classes: list[str] | None = None) -> VaeManifest:
    return VaeManifest.model_validate(
        {"name": "m", "engine": "torch", "latent": {"shape": [SIZE]}, "rows": {"kind": "tensor", "shape": [4]},
         "labels": None if classes is None else {"classes": classes}, "architecture": {"name": "mlp"}}
    )  # fmt: skip


def encoding(classes: tuple[str, ...] | None = None) -> Encoding:
    generator = np.random.default_rng(1)
    made = encoding_of(generator.standard_normal((50, SIZE)), generator.random((50, SIZE)))
    labels = None if classes is None else (np.arange(50) % len(classes)).astype(np.int32)
    return Encoding(made.mean, made.std, labels, made.row_digests, classes)


def paths(steps: int, pairs=PAIRS, *, rows: int | None = None, classes=None, seed: int = 1, **choices) -> LatentSource:
    strategy = Interpolate(dataset="d", pairs=pairs, steps=steps, **choices)
    model = manifest(list(classes) if classes else None)
    rows = len(pairs) * steps if rows is None else rows
    return open_strategy(strategy, seed=seed, rows=rows, manifest=model, encoding=encoding(classes))


def rotated(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """a turned by t times the angle to b, in their plane, by the exponential of a skew matrix; lengths in a line."""
    from_, to = a / np.linalg.norm(a), b / np.linalg.norm(b)
    across = to - (from_ @ to) * from_
    across /= np.linalg.norm(across)
    angle = np.arccos(from_ @ to)
    turn = expm(t * angle * (np.outer(across, from_) - np.outer(from_, across)))
    return ((1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)) * (turn @ from_)


def test_spherical_paths_are_rotations() -> None:
    generator = np.random.default_rng(0)
    ends = generator.standard_normal((2, 40, SIZE)) * generator.uniform(0.1, 5, (2, 40, 1))
    share = generator.uniform(0, 1, 40)
    expected = [rotated(a, b, t) for a, b, t in zip(*ends, share, strict=True)]
    np.testing.assert_allclose(spherical_path(*ends, share), expected, rtol=1e-9, atol=1e-12)


def test_nearly_parallel_and_nearly_opposite_ends_stay_on_the_path() -> None:
    a = np.array([[1.0, 0.0, 0.0]] * 4)
    b = np.array([[2.0, 1e-5, 0.0], [2.0, 1e-9, 0.0], [-2.0, 1e-4, 0.0], [-2.0, 1e-9, 0.0]])
    found = spherical_path(a, b, np.full(4, 0.5))
    np.testing.assert_allclose(found[:2], [[1.5, 0.5e-5, 0], [1.5, 0, 0]], atol=3e-6)
    np.testing.assert_allclose(found[2], [0, 1.5, 0], atol=1e-4)  # a quarter turn, at the mean of both lengths
    np.testing.assert_allclose(found[3], [-0.5, 0, 0], atol=1e-8)  # no circle is singled out: linear


@pytest.mark.parametrize(("a", "b"), [([0, 0], [1, 2]), ([1, 2], [0, 0]), ([0, 0], [0, 0]), ([1, 1], [-1, -1])])
def test_ends_without_a_circle_are_joined_by_a_line(a: list, b: list) -> None:
    ends, share = (np.array([a], float), np.array([b], float)), np.array([0.25])
    np.testing.assert_array_equal(spherical_path(*ends, share), linear_path(*ends, share))


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_both_ends_are_the_means_to_the_last_bit(path: str) -> None:
    found, means = paths(7, path=path).latents(0, 28).latents.reshape(4, 7, SIZE), encoding().mean
    for number, (first, last) in enumerate(PAIRS):
        np.testing.assert_array_equal(found[number, 0], means[first])
        np.testing.assert_array_equal(found[number, -1], means[last])
    np.testing.assert_allclose(found[0], found[1][::-1], rtol=1e-6)  # there and back
    np.testing.assert_array_equal(found[2], np.broadcast_to(means[5], (7, SIZE)))
    if path == "linear":
        np.testing.assert_allclose(
            np.diff(found[3], axis=0), np.broadcast_to((means[49] - means[0]) / 6, (6, SIZE)), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("path", ["linear", "spherical"])
@pytest.mark.parametrize("shards", [3, 7])
def test_no_border_and_no_seed_changes_a_row(path: str, shards: int) -> None:
    pairs = tuple((i % 50, (7 * i + 3) % 50) for i in range(200))
    whole = paths(11, pairs, path=path, classes=("c", "a")).latents(0, 2_200)
    other = paths(11, pairs, path=path, classes=("c", "a"), seed=2)
    for first, last in reversed(list(pairwise(np.linspace(0, 2_200, shards + 1).astype(int).tolist()))):
        part = other.latents(first, last - first)
        np.testing.assert_array_equal(part.latents, whole.latents[first:last])
        np.testing.assert_array_equal(part.labels, whole.labels[first:last])


def test_rows_past_the_last_begin_again() -> None:
    found = paths(5).latents(15, 10).latents
    np.testing.assert_array_equal(found[5:], paths(5).latents(0, 5).latents)


def test_a_row_has_the_label_of_its_nearer_end() -> None:
    """Rows 3 and 17 are of class 'a', 0 and 2 of 'c'; the model's order is its own."""
    for steps, expected in ((4, [2, 2, 0, 0]), (5, [2, 2, 2, 0, 0])):
        strategy = Interpolate(dataset="d", pairs=((0, 17), (2, 2)), steps=steps)
        source = open_strategy(
            strategy, seed=0, rows=2 * steps, manifest=manifest(["a", "b", "c"]), encoding=encoding(("c", "a"))
        )
        assert source.latents(0, 2 * steps).labels.tolist() == [*expected, *[2] * steps]


def test_labels_of_ones_own_overrule_the_ends() -> None:
    found = paths(4, classes=("c", "a"), labels=LabelCounts(counts={"a": 16})).latents(0, 16).labels
    assert found.tolist() == [1] * 16


@pytest.mark.parametrize(
    ("pairs", "rows", "pointer", "says"),
    [(((0, 1), (1, 2)), 11, "/rows", "10 rows, not 11"), (((0, 50), (1, 2)), 10, "/strategy/pairs", "rows 0 to 49")],
)
def test_what_does_not_add_up_is_refused(pairs, rows: int, pointer: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as refused:
        paths(5, pairs, rows=rows)
    assert refused.value.errors[0].pointer == pointer
