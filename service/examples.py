"""Bodies that /docs offers to send: those of the README's main job, on a model `digits` and a dataset `train`."""

from typing import Any

Examples = dict[str, Any]

FITS: Examples = {
    "gaussian": {
        "summary": "One Gaussian: the exact moments of the aggregate posterior",
        "value": {"model": "digits", "dataset": "train", "family": {"kind": "gaussian"}},
    },
    "mixture": {
        "summary": "A mixture of ten Gaussians",
        "value": {
            "model": "digits",
            "dataset": "train",
            "family": {"kind": "mixture", "components": 10, "covariance": "full"},
            "name": "digits-mixture",
        },
    },
}

REPORTS: Examples = {
    "default": {
        "summary": "The usual candidates",
        "value": {"model": "digits", "dataset": "train"},
    },
    "chosen": {
        "summary": "The prior against two families",
        "value": {
            "model": "digits",
            "dataset": "train",
            "candidates": [{"kind": "prior"}, {"kind": "gaussian"}, {"kind": "mixture", "components": 10}],
            "rows": 1000,
            "seed": 7,
        },
    },
}

JOBS: Examples = {
    "prior": {
        "summary": "A thousand rows from the prior",
        "value": {"model": "digits", "strategy": {"kind": "prior"}, "rows": 1000, "seed": 7},
    },
    "aggregate": {
        "summary": "From a fit, as parquet, with their latents",
        "value": {
            "model": "digits",
            "strategy": {"kind": "aggregate", "fit": "digits-mixture"},
            "rows": 1000,
            "seed": 7,
            "format": "parquet",
            "include_latents": True,
            "metadata": {"purpose": "a first look"},
        },
    },
    "posterior": {
        "summary": "Variations of five rows of a dataset",
        "value": {
            "model": "digits",
            "strategy": {"kind": "posterior", "dataset": "train", "select": {"rows": [0, 1, 2, 3, 4]}},
            "rows": 50,
        },
    },
    "interpolate": {
        "summary": "Two paths between rows of a dataset, eight steps each",
        "value": {
            "model": "digits",
            "strategy": {"kind": "interpolate", "dataset": "train", "pairs": [[0, 1], [2, 3]], "steps": 8},
            "rows": 16,
        },
    },
}

PREVIEWS: Examples = {
    "strategy": {
        "summary": "Four rows of a strategy",
        "value": {"model": "digits", "strategy": {"kind": "prior"}, "rows": 4, "seed": 7},
    },
    "job": {
        "summary": "The very rows of a job",
        "value": {"job": "digits-1000", "indices": [0, 1, 999]},
    },
}
