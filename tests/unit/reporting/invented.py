"""Reports as they could have come out: content and exhibits for every kind of row, good news and bad."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from latentmill.specs import ImageRows, Rows, SeriesRows, TableRows, TensorRows
from latentmill.specs.rows import Column
from workers.reporting.exhibits import Exhibits, Gallery, Histogram, Projection, Strip
from workers.rows import RowBatch

IMAGES = ImageRows(shape=(1, 28, 28))
PHOTOS = ImageRows(shape=(96, 96, 3), layout="HWC", dtype="float32", range=(-1.0, 1.0))
SERIES = SeriesRows(steps=48, features=("load", "temperature", "price <EUR>"))
TENSORS = TensorRows(shape=(6, 40))
NUMBERS = TensorRows(shape=(4,))
TABLE = TableRows(
    columns=(
        Column(name="age", kind="integer", minimum=0, maximum=110),
        Column(name="income, yearly before tax", kind="number", mean=30_000, std=12_000),
        Column(name="job", kind="category", categories=("nurse", "driver", "engineer & architect", "none")),
        Column(name="smokes", kind="boolean"),
        Column(name="weight", kind="number", missing=True, mean=75, std=12),
    )
)
ROW_KINDS: dict[str, Rows] = {
    "images": IMAGES, "photos": PHOTOS, "series": SERIES, "tensors": TENSORS, "numbers": NUMBERS, "table": TABLE
}  # fmt: skip


def batch(rows: Rows, count: int, seed: int) -> RowBatch:
    """Rows that look like something."""
    rng = np.random.default_rng(seed)
    match rows:
        case ImageRows():
            return RowBatch({"rows": _pictures(rows, count, rng)})
        case SeriesRows():
            steps = np.linspace(0, 2 * np.pi, rows.steps)
            phases = rng.uniform(0, 6, (count, 1, len(rows.features)))
            waves = np.sin(steps[None, :, None] * rng.uniform(1, 3, phases.shape) + phases)
            return RowBatch({"rows": (waves + 0.1 * rng.normal(size=waves.shape)).astype(np.float32)})
        case TableRows():
            return RowBatch(
                {
                    "age": rng.integers(18, 90, count),
                    "income, yearly before tax": rng.lognormal(10.2, 0.5, count),
                    "job": rng.integers(0, 4, count).astype(np.int32),
                    "smokes": rng.random(count) < 0.3,
                    "weight": rng.normal(75, 12, count),
                },
                {"weight": rng.random(count) < 0.2},
            )
        case TensorRows():
            values = rng.normal(size=(count, *rows.shape)).cumsum(axis=-1)
            return RowBatch({"rows": values.astype(np.float32)})


def _pictures(rows: ImageRows, count: int, rng: np.random.Generator) -> Any:
    height, width = rows.shape[1:] if rows.layout == "CHW" else rows.shape[:2]
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    centres, radii = rng.uniform(0.3, 0.7, (count, 2, 1, 1)), rng.uniform(0.15, 0.3, (count, 1, 1))
    ring = np.exp(-(((np.hypot(x - centres[:, 0], y - centres[:, 1]) - radii) / 0.06) ** 2))
    tint = rng.uniform(0.4, 1, (count, 1, 1, rows.channels)) if rows.channels > 1 else 1.0
    values = ring[..., None] * tint * np.ones(rows.channels)
    if rows.layout == "CHW":
        values = np.moveaxis(values, 3, 1)
    if rows.dtype == "uint8":
        return (255 * values).astype(np.uint8)
    low, high = rows.range
    return (low + (high - low) * values).astype(np.float32)


def exhibits(
    rows: Rows, names: Sequence[str], *, count: int = 16, prior: bool = True, labels: bool = False
) -> Exhibits:
    """What would be drawn for candidates called `names`."""
    rng = np.random.default_rng(1)
    q = np.concatenate([rng.normal((-1.6, 0.4), (0.35, 0.6), (900, 2)), rng.normal((1.2, -0.5), (0.5, 0.3), (600, 2))])
    classes = tuple(str(i % 10) for i in range(count)) if labels else None
    galleries = [Gallery(name, "candidate", batch(rows, count, 10 + i), classes) for i, name in enumerate(names)]
    galleries += [
        Gallery("Reconstructions", "reconstructions", batch(rows, count, 3), classes, "of the rows above"),
        Gallery("Real rows", "real", batch(rows, count, 3), classes, "held out from the fits"),
    ]
    values = np.linspace(-3, 3, 13)
    return Exhibits(
        rows=rows,
        histograms=tuple(_histogram(j, rng, prior) for j in (3, 0, 7, 12, 5, 1, 9, 2)),
        strips=(Strip(3, values, batch(rows, len(values), 5), (-2.21, 1.93)),),
        projection=Projection(
            q, rng.normal(size=(1_500, 2)) if prior else None,
            ("principal axis 1, 41 % of the variance", "principal axis 2, 22 % of the variance"),
        ),
        galleries=tuple(galleries),
    )  # fmt: skip


def _histogram(dimension: int, rng: np.random.Generator, prior: bool) -> Histogram:
    edges = np.linspace(-4, 4, 49)
    draws = np.concatenate([rng.normal(-1.5, 0.3 + dimension / 20, 4_000), rng.normal(1.2, 0.5, 3_000)])
    q = np.histogram(draws, edges)[0] / (len(draws) * np.diff(edges))
    centres = (edges[:-1] + edges[1:]) / 2
    normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    return Histogram(dimension, edges, q, normal if prior else None, 0.9 / (1 + dimension) if prior else None)


def estimate(value: float, error: float) -> dict[str, float]:
    return {"value": value, "standard_error": error}


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def quality(distance: float, auc: float, gap: float | None) -> dict[str, Any]:
    """Everything that is measured of one candidate's rows."""
    return {
        "decoded": distances(distance, auc, 0.0),
        "real": distances(distance + 0.31, min(1.0, auc + 0.11), 0.2),
        "latent_classifier_auc": estimate(min(1.0, auc + 0.04), 0.008),
        "gap_closed": None if gap is None else estimate(gap, 0.021),
        "columns": None,
    }


def distances(distance: float, auc: float, less: float) -> dict[str, Any]:
    return {
        "kernel_distance": estimate(distance, 0.004 + 0.02 * abs(distance)),
        "kernel_distance_over_prior": estimate(distance - 2.31, 0.05),
        "frechet_distance": interval(9 * distance + 0.36, 8 * distance + 0.21, 10 * distance + 0.52),
        "sliced_wasserstein": interval(distance / 3 + 0.02, distance / 4 + 0.01, distance / 2 + 0.04),
        "precision": estimate(0.93 - 0.2 * distance - less, 0.009),
        "recall": estimate(0.91 - 0.1 * distance - less, 0.011),
        "density": estimate(1.02 - 0.2 * distance - less, 0.024),
        "coverage": estimate(0.955 - 0.2 * distance - less, 0.007),
        "classifier_auc": estimate(auc, 0.013),
    }


def memorisation(z: float, duplicates: int = 0) -> dict[str, Any]:
    share = {"share": 0.9 + 0.004 * z, "expected": 0.9, "standard_error": 0.008, "z": z}
    return {"features": share, "latents": {**share, "z": z + 0.3}, "duplicates": duplicates, "duplicates_among_real": 4}


def candidates() -> list[dict[str, Any]]:
    """The default five: one prior, three densities, one that memorises."""
    gaussian = {"kind": "gaussian", "covariance": "full"}
    mixture = {"kind": "mixture", "components": 32, "covariance": "full"}
    flow = {"kind": "flow", "transforms": 4, "hidden": 64, "epochs": "auto"}
    empirical = {"kind": "empirical", "components": "all", "bandwidth": 1.0}
    bad = ["no smooth density", "memorises"]
    listed: list[tuple[Any, ...]] = [
        ("prior", None, None, quality(2.31, 0.94, None), 0.2, [], "loses 0.709 ± 0.021 nats to flow"),
        (
            "gaussian",
            gaussian,
            (0.412, 0.017),
            quality(0.087, 0.61, 0.962),
            0.4,
            [],
            "loses 0.297 ± 0.012 nats to flow",
        ),
        ("mixture of 32", mixture, (0.702, 0.019), quality(0.011, 0.53, 0.995), 0.5, [], None),
        ("flow", flow, (0.709, 0.021), quality(0.014, 0.54, 0.993), -0.3, [], "ties, but mixture of 32 is simpler"),
        ("empirical", empirical, (-19.31, 0.41), quality(0.006, 0.5, 0.998), 12.4, bad, "memorises (z = 12)"),
    ]
    return [
        {
            "name": name,
            "strategy": {"kind": "prior", "temperature": 1.0}
            if family is None
            else {"kind": "aggregate", "fit": f"fit_{family['kind']}0123", "temperature": 1.0},
            "family": family,
            "by_label": False,
            "fit": None if family is None else f"fit_{family['kind']}0123",
            "holdout_nll": 14.87 - (gain[0] if gain else 0.0),
            "gain": None if gain is None else estimate(*gain),
            "quality": measured,
            "memorisation": memorisation(z, 3 if z > 4 else 0),
            "marks": marks,
            "error": None,
            "chosen": why_not is None,
            "why_not": why_not,
        }
        for name, family, gain, measured, z, marks, why_not in listed
    ]


def columns(worse: float) -> dict[str, Any]:
    """How columns and pairs of them differ; `worse` times as much as real rows do among themselves."""
    named = [("age", 0.021), ("income, yearly before tax", 0.034), ("job", 0.012), ("smokes", 0.008), ("weight", 0.027)]
    return {
        "columns": [
            {
                "name": name,
                "measure": "total variation" if name in ("job", "smokes") else "wasserstein / sd",
                "distance": worse * floor,
                "standard_error": 0.3 * floor,
                "missing": 0.2 * worse if name == "weight" else 0.0,
                "missing_reference": 0.19 if name == "weight" else 0.0,
                "missing_difference": {"value": 0.01, "standard_error": 0.012},
                "floor": floor,
            }
            for name, floor in named
        ],
        "pairs": {
            "columns": 5, "of": 5, "mean_difference": 0.02 * worse, "largest_difference": 0.05 * worse,
            "largest": [
                {"columns": ["age", "income, yearly before tax"], "measure": "correlation", "generated": 0.29,
                 "reference": 0.31, "difference": {"value": -0.02, "standard_error": 0.031}},
                {"columns": ["job", "smokes"], "measure": "cramers v", "generated": 0.12, "reference": 0.14,
                 "difference": {"value": -0.02, "standard_error": None}},
            ],
            "floor_mean_difference": 0.02, "floor_largest_difference": 0.06,
        },
    }  # fmt: skip


def content() -> dict[str, Any]:
    """A model whose prior is far from its latents: a fit clearly helps."""
    return {
        "name": "digits, beta 0.02",
        "created_at": "2026-11-25 18:04 UTC",
        "settings": {
            "model": {"id": "mdl_7Q2m", "name": "mnist-beta-0.02", "digest": "sha256:1f0e" + "ab" * 30},
            "dataset": {"id": "dat_51xK", "name": "mnist-train", "digest": "sha256:" + "cd" * 32, "rows": 60_000},
            "reference_dataset": None,
            "reference": "held out from the fit; the VAE may have trained on them",
            "rows": 2_000, "rows_asked": 2_000, "seed": 0, "holdout": 0.1, "holdout_rows": 6_000, "output": "mean",
            "features": {"count": 64, "of": "principal axes of the fit rows"},
            "request": {"model": "mdl_7Q2m", "dataset": "dat_51xK", "candidates": "default", "rows": 2_000, "seed": 0},
            "versions": {"latentmill": "0.1.0", "torch": "2.13.0", "numpy": "2.4.1"},
        },
        "mismatch": {
            "rows": 60_000, "rows_used": 54_000, "holdout_rows": 6_000, "latent_size": 16,
            "active_units": 14, "informative_units": 14, "inert_dimensions": [6, 11],
            "mean_kl": 21.63,
            "marginal_kl": {**estimate(0.709, 0.021), "upper": 13.57, "method": "flow", "saturated": True},
            "gaussian_kl": 0.431, "negentropy": estimate(0.297, 0.012), "negentropy_upper": 13.14,
            "index_code_mutual_information": estimate(8.06, 0.02), "index_code_ceiling": 10.82,
            "per_dimension": [],
        },
        "candidates": candidates(),
        "floors": {
            "reconstructions": {"decoded": distances(0.004, 0.5, 0.0), "real": distances(0.302, 0.62, 0.2)},
            "real": {"real": distances(0.001, 0.5, 0.0), "decoded": distances(0.297, 0.63, 0.05)},
        },
        "recommendation": {
            "candidate": "mixture of 32",
            "strategy": {"kind": "aggregate", "fit": "fit_mixture0123", "temperature": 1.0},
            "reason": "Draw from the mixture of 32: under it the latents of 6,000 held-out rows are likelier than "
            "under the prior, by 0.702 ± 0.019 nats per row; flow ties with it and is less simple. Its "
            "rows close the whole gap (100 ± 2 %) in kernel distance between those of the prior and reconstructions of "
            "real rows, and a classifier that tells the rows of the prior from decoded real rows (AUC 0.94 ± 0.01) "
            "cannot tell its rows (0.51 ± 0.01; 0.5 is chance).",
            "evidence": "clear",
        },
    }  # fmt: skip


def matched() -> dict[str, Any]:
    """The prior is as good as anything."""
    made = content()
    for candidate, gain in zip(made["candidates"], (None, 0.011, 0.013, 0.009, -19.3), strict=True):
        candidate["gain"] = None if gain is None else estimate(gain, 0.008)
        candidate["quality"] = quality(0.006, 0.51, None)
    made["mismatch"]["marginal_kl"] = {
        **estimate(0.013, 0.008),
        "upper": 0.09,
        "method": "mixture of 32",
        "saturated": False,
    }
    for candidate in made["candidates"]:
        candidate.update(chosen=candidate["name"] == "prior", why_not="ties, but prior is simpler")
    made["recommendation"] = {
        "candidate": "prior",
        "strategy": {"kind": "prior", "temperature": 1.0},
        "reason": "Keep the prior: over 6,000 held-out rows the best other candidate, mixture of 32, gains 0.013 ± "
        "0.008 nats per row, which is a tie (at most 0.02 nats, or one standard error). The rows do not differ either, "
        "as far as +0.001 ± 0.004 in kernel distance can show.",
        "evidence": "agree",
    }
    return made


def without_prior() -> dict[str, Any]:
    """A deterministic autoencoder: no prior, no rates, empirical refused."""
    made = content()
    made["candidates"] = [made["candidates"][1], made["candidates"][2], made["candidates"][4]]
    for worse, candidate in zip((6.0, 1.1), made["candidates"], strict=False):
        candidate["quality"]["real"]["columns"] = columns(worse)
    made["candidates"][2].update(
        gain=None, quality=None, memorisation=None, marks=[], holdout_nll=None,
        why_not="failed: the encoder is deterministic",
        error="The encoder is deterministic; empirical needs posteriors with noise. Use gaussian, mixture or flow",
    )  # fmt: skip
    made["mismatch"].update(
        mean_kl=None, marginal_kl=None, gaussian_kl=None, negentropy=None, negentropy_upper=None,
        index_code_mutual_information=None, index_code_ceiling=None, inert_dimensions=[],
    )  # fmt: skip
    return made


def too_few() -> dict[str, Any]:
    """Nothing but names: no number could be measured."""
    made = content()
    for candidate in made["candidates"]:
        candidate.update(gain=None, quality=None, memorisation=None, marks=[], holdout_nll=None)
    made["floors"], made["mismatch"] = {}, {}
    for candidate in made["candidates"]:
        candidate.update(chosen=False, why_not="not judged: 12 held-out rows are too few")
    made["recommendation"] = {
        "candidate": None, "strategy": None,
        "reason": "Only 12 rows were held out; 100 are needed.", "evidence": "too few rows"
    }  # fmt: skip
    return made
