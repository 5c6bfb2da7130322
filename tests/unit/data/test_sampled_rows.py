"""Output "sample": rows drawn from the likelihood, the same wherever borders lie, with the distribution declared."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from latentmill.errors import DataError, ModelMismatch
from latentmill.specs import Prior, VaeManifest
from workers.generation import ShardPlan, generate_shard
from workers.generation.likelihoods import BernoulliDraw, chosen, groups_of, open_likelihood
from workers.generation.output_noise import OutputNoise, rounded_down
from workers.generation.pipeline import NOISE_BYTES, _batches_within
from workers.models.categories import category_values
from workers.posteriors.prior import declared_prior
from workers.randomness import Stream, block_rows, normals, wide_uniform_block
from workers.sampling import open_strategy

ROWS, BATCH, SEED, WIDTH = 3_000, 128, 2**53 - 1, 16
FLAT = np.zeros((WIDTH, 4), np.float32)  # a decoder that gives its bias, whatever the latents
GREY = {"kind": "image", "shape": [1, 4, 4]}


@pytest.fixture
def rows_of(tmp_path: Path):
    """Rows [first, first + rows) of a sampled job of ROWS rows."""

    def make(vae, first: int = 0, rows: int = ROWS, *, batch: int = BATCH, seed: int = SEED, output: str = "sample"):
        density = declared_prior(vae.manifest, vae.prior_parameters)
        source = open_strategy(Prior(), seed=seed, rows=ROWS, manifest=vae.manifest, density=density)
        plan = ShardPlan(first, rows, batch, "npz", output=output, seed=seed)
        generate_shard(vae, source, plan, tmp_path / "shard", check=lambda: None)
        with np.load(tmp_path / "shard") as shard:
            return shard["rows"]

    return make


def probabilities(bias: list[float] | np.ndarray) -> dict:
    return {"decoder.out.weight": FLAT, "decoder.out.bias": np.asarray(bias, np.float32)}


GOLDEN = {
    "normals": ["-0x1.b8b0020000000p-1", "-0x1.c516be0000000p-1", "-0x1.e11bc00000000p+0", "0x1.a400a00000000p-1"],
    "uniforms": ["0x1.44e1ce0000000p-1", "0x1.3a6e980000000p-1", "0x1.1c18d00000000p-2", "0x1.3595380000000p-2"],
}


@pytest.mark.parametrize("kind", list(GOLDEN))
def test_golden_output_noise(kind: str) -> None:
    found = OutputNoise(SEED, kind, 2).of_rows(3 * 1024 + 1000, 2)
    assert [float(value).hex() for value in found.ravel()] == GOLDEN[kind]


@pytest.mark.parametrize(("kind", "width"), [("normals", 3), ("uniforms", 3), ("uniforms", 5_000)])
def test_noise_of_a_row_depends_on_its_number_alone(kind: str, width: int) -> None:
    total = 2 * block_rows(width) + 37
    whole = OutputNoise(7, kind, width).of_rows(0, total)
    parts = OutputNoise(7, kind, width)
    for first, rows in ((total - 1, 1), (block_rows(width) - 1, 2), (5, total - 5), (0, 1)):
        np.testing.assert_array_equal(parts.of_rows(first, rows), whole[first : first + rows])
    assert whole.dtype == np.float32
    if kind == "normals":
        np.testing.assert_array_equal(whole, normals(7, Stream.OUTPUT, 0, total, width).astype(np.float32))


def test_uniforms_are_cast_downwards() -> None:
    block = wide_uniform_block(3, Stream.OUTPUT, 0, 64)
    cast = rounded_down(block)
    assert (cast <= block).all()
    assert (np.nextafter(cast, np.float32(2)) > block).all()
    np.testing.assert_array_equal(rounded_down(np.array([0.0, 1 - 2.0**-53])), np.float32([0, 1 - 2.0**-24]))


@pytest.mark.parametrize(
    "choices",
    [
        {"likelihood": {"kind": "gaussian", "std": 0.3}},
        {"likelihood": {"kind": "gaussian", "std": "learned"}},
        {"likelihood": {"kind": "bernoulli"}, "rows": GREY, "weights": probabilities(np.linspace(0, 1, WIDTH))},
        {"likelihood": {"kind": "categorical"}, "rows": {"kind": "tensor", "shape": [4, 4]},
         "weights": probabilities([0.1, 0.2, 0.3, 0.4] * 4)},
    ],
)  # fmt: skip
def test_shards_change_no_bit(make_vae, rows_of, choices: dict) -> None:
    vae = make_vae(**choices)
    whole = rows_of(vae)
    for shards in (3, 7):
        borders = np.linspace(0, ROWS, shards + 1).astype(int).tolist()
        parts = [rows_of(vae, first, last - first) for first, last in pairwise(borders)]
        assert np.array_equal(np.concatenate(parts), whole)
    np.testing.assert_allclose(rows_of(vae, batch=192), whole, atol=1e-5)
    assert not np.array_equal(rows_of(vae, seed=1), whole)


def test_other_noise_than_the_latents(make_vae, rows_of) -> None:
    vae = make_vae(likelihood={"kind": "gaussian", "std": 1.0})
    noise = rows_of(vae) - rows_of(vae, output="mean")
    np.testing.assert_allclose(noise, normals(SEED, Stream.OUTPUT, 0, ROWS, WIDTH), atol=1e-5)


@pytest.mark.parametrize(("std", "expected"), [(0.3, 0.3), ("learned", 0.5)])
def test_gaussian_rows_have_the_declared_std(make_vae, rows_of, std, expected: float) -> None:
    """48,000 values: mean within 4 s / sqrt n, variance within 4 s^2 sqrt(2 / n), and normal (KS at 1e-4)."""
    vae = make_vae(likelihood={"kind": "gaussian", "std": std})
    found = (rows_of(vae) - rows_of(vae, output="mean")).ravel() / expected
    assert abs(found.mean()) < 4 / np.sqrt(found.size)
    assert abs(found.var() - 1) < 4 * np.sqrt(2 / found.size)
    assert stats.kstest(found, "norm").pvalue > 1e-4


def test_bernoulli_pixels_are_white_as_often_as_they_should(make_vae, rows_of) -> None:
    """Each of 16 pixels within 4.5 standard errors; p = 0 and p = 1 exactly; pixels independent of one another."""
    p = np.linspace(0, 1, WIDTH)
    vae = make_vae(likelihood={"kind": "bernoulli"}, rows=GREY, weights=probabilities(p))
    rows = rows_of(vae).reshape(ROWS, WIDTH)
    assert set(np.unique(rows)) == {0, 255}
    share = (rows == 255).mean(axis=0)
    assert (share[0], share[-1]) == (0, 1)
    assert (np.abs(share - p) <= 4.5 * np.sqrt(p * (1 - p) / ROWS)).all()
    correlation = np.corrcoef(rows[:, 1:-1].T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4.5 / np.sqrt(ROWS)


def test_categories_are_drawn_by_their_probabilities(make_vae, rows_of) -> None:
    """Chi-square of 12,000 places with 4 categories, one of probability 0; false alarm 1e-4."""
    p = np.array([0.5, 0.0, 0.3, 0.2])
    tensor = {"kind": "tensor", "shape": [4, 4]}
    vae = make_vae(likelihood={"kind": "categorical"}, rows=tensor, weights=probabilities(np.tile(p, 4)))
    rows = rows_of(vae)
    assert (rows.sum(axis=-1) == 1).all()
    assert set(np.unique(rows)) == {0, 1}
    counts = rows.sum(axis=(0, 1))
    assert counts[1] == 0
    assert stats.chisquare(counts[p > 0], 4 * ROWS * p[p > 0]).pvalue > 1e-4


def test_categories_on_an_axis_of_their_own_become_levels(make_vae, rows_of) -> None:
    """A decoder that gives (n, 1, 2, 2, 4): each pixel has one of 4 levels between black and white."""
    p = np.array([0.1, 0.2, 0.3, 0.4])
    vae = make_vae(
        likelihood={"kind": "categorical"}, rows={"kind": "image", "shape": [1, 2, 2]}, given=[1, 2, 2, 4],
        weights=probabilities(np.tile(p, 4)),
    )  # fmt: skip
    counts = np.array([(rows_of(vae) == level).sum() for level in (0, 85, 170, 255)])
    assert stats.chisquare(counts, 4 * ROWS * p).pvalue > 1e-4
    means = rows_of(vae, output="mean")
    assert means.shape == (ROWS, 1, 2, 2)
    assert set(np.unique(means)) == {170}  # 255 (0.2 / 3 + 0.3 * 2 / 3 + 0.4)


def test_levels_are_in_the_models_space() -> None:
    image = {"kind": "image", "shape": [3, 2, 2], "mean": [0.5, 0.0, 0.0], "std": [0.5, 1.0, 2.0]}
    values = category_values(manifest("categorical", image), 5)
    assert values.shape == (3, 1, 1, 5)
    np.testing.assert_allclose(
        values[:, 0, 0], [[-1, -0.5, 0, 0.5, 1], [0, 0.25, 0.5, 0.75, 1], [0, 0.125, 0.25, 0.375, 0.5]]
    )
    assert category_values(manifest("categorical", {"kind": "tensor", "shape": [2]}), 3).tolist() == [0, 1, 2]


TABLE = [
    {"name": "colour", "kind": "category", "categories": ["red", "green", "blue"], "missing": True},
    {"name": "member", "kind": "boolean", "missing": True},
    {"name": "size", "kind": "category", "categories": ["s", "l"]},
]


def test_a_table_draws_one_category_per_column(make_vae, rows_of) -> None:
    """Chi-square per column at 1e-4; a missing value is one of the categories, and a boolean's is drawn beside it."""
    assert groups_of(manifest("categorical", table(TABLE)).rows.columns) == [
        slice(0, 4), slice(4, 5), slice(5, 6), slice(6, 8)
    ]  # fmt: skip
    twice = [*TABLE, *({**column, "name": column["name"] + "2"} for column in TABLE)]
    bias = [0.1, 0.2, 0.3, 0.4, 0.7, 0.25, 0.6, 0.4]
    rows = rows_of(make_vae(likelihood={"kind": "categorical"}, rows=table(twice), weights=probabilities(2 * bias)))
    assert abs(np.corrcoef(rows["size"] == "l", rows["size2"] == "l")[0, 1]) < 4.5 / np.sqrt(ROWS)
    colours = [(rows["colour"] == name).sum() for name in ("red", "green", "blue", "")]
    assert stats.chisquare(colours, ROWS * np.array(bias[:4])).pvalue > 1e-4
    assert stats.binomtest(int((rows["size"] == "l").sum()), ROWS, 0.4).pvalue > 1e-4
    assert stats.binomtest(int(rows["member"].sum()), ROWS, 0.7 * 0.75).pvalue > 1e-4  # missing is False there


def test_a_category_of_probability_zero_is_never_drawn() -> None:
    uniforms = torch.tensor([0.0, 0.25, 0.5, 1 - 2.0**-24])
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(4, 5)
    assert chosen(p, uniforms).argmax(-1).tolist() == [1, 1, 3, 3]
    for total in np.linspace(0.9991, 1.0009, 301, dtype=np.float32):  # sums that rounding left beside 1
        p = torch.tensor([[total, 0.0]])
        assert chosen(p, uniforms[-1:]).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "choices",
    [
        {"likelihood": {"kind": "bernoulli"}},
        {"likelihood": {"kind": "categorical"}, "weights": probabilities(np.full(WIDTH, 0.5))},
    ],
)
def test_what_are_no_probabilities_is_refused_by_its_row(make_vae, rows_of, choices: dict) -> None:
    vae = make_vae(**choices)
    with pytest.raises(DataError, match=r"no probabilities in row 1,0\d\d.*Sigmoid") as refused:
        rows_of(vae, 1_000, 100)
    assert refused.value.errors[0].pointer == "/output"
    assert len(rows_of(vae, 1_000, 100, output="mean")) == 100


def manifest(kind: str, rows: dict) -> VaeManifest:
    return VaeManifest.model_validate(
        {"name": "m", "engine": "torch", "latent": {"shape": [2]}, "rows": rows, "likelihood": {"kind": kind},
         "architecture": {"name": "mlp"}}
    )  # fmt: skip


def table(columns: list[dict]) -> dict:
    return {"kind": "table", "columns": columns}


NUMBER = {"name": "age", "kind": "number"}


@pytest.mark.parametrize(
    ("kind", "rows", "says"),
    [
        ("point", {"kind": "tensor", "shape": [3]}, "no noise"),
        ("bernoulli", table(TABLE), "'colour' of kind category"),
        ("categorical", table([*TABLE, NUMBER]), "'age' of kind number"),
        ("gaussian", table([*TABLE, NUMBER]), None),
        ("categorical", table(TABLE), None),
        ("bernoulli", table(TABLE[1:2]), None),
        ("bernoulli", {"kind": "tensor", "shape": [3]}, None),
    ],
)
def test_where_there_is_nothing_to_draw_the_way_out_is_named(kind: str, rows: dict, says: str | None) -> None:
    reason = manifest(kind, rows).why_not_sampled()
    assert (reason is None) == (says is None)
    if says is not None:
        assert reason is not None
        assert says in reason
        assert '"mean"' in reason


def test_a_worker_refuses_what_the_service_let_pass(make_vae) -> None:
    with pytest.raises(ModelMismatch, match='output "mean"'):
        open_likelihood(make_vae(likelihood={"kind": "point"}), "sample", 0)
    assert isinstance(open_likelihood(make_vae(likelihood={"kind": "bernoulli"}), "sample", 0), BernoulliDraw)
    assert open_likelihood(make_vae(), "mean", 0) is None


def test_noise_that_waits_is_bounded() -> None:
    assert _batches_within(OutputNoise(0, "normals", 64), 1024) == 2
    assert _batches_within(OutputNoise(0, "normals", NOISE_BYTES // 64), 64) == 1
