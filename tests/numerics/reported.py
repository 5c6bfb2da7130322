"""Reports on encodings whose answer is known, decoded by a linear decoder that can be written down."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from latentmill.specs import Aggregate, Family, FitRequest, Gaussian, Mixture, Prior
from workers.models import TorchVae, load_vae, open_bundle
from workers.posteriors import Encoding, density_of, fit_posterior
from workers.posteriors.judging import judged_density
from workers.posteriors.prior import declared_prior
from workers.reporting.candidates import Candidate
from workers.reporting.ground import ground_of
from workers.reporting.report import Report, make_report
from workers.reporting.subject import Subject

WIDTH = 16


def nothing(*_: Any) -> None: ...


def linear_decoder(
    folder: Path, latents: int, *, prior: dict[str, np.ndarray] | None = None, kind: str = ""
) -> TorchVae:
    """x = W z with W'W = I: distances of rows are those of latents. No encoder: posteriors are given."""
    w = np.linalg.qr(np.random.default_rng(5).standard_normal((WIDTH, latents)))[0].astype(np.float32)
    manifest = {
        "schema": 1,
        "name": "linear",
        "engine": "torch",
        "latent": {"shape": [latents]},
        "rows": {"kind": "tensor", "shape": [WIDTH]},
        "prior": {"kind": kind or ("standard_normal" if prior is None else "mixture")},
        "architecture": {
            "name": "sequential",
            "decoder": {
                "steps": [
                    {"id": "out", "layer": "Linear", "inputs": ["z"], "in_features": latents, "out_features": WIDTH}
                ]
            },
        },
    }
    path = folder / "linear.vae.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("vae.json", json.dumps(manifest))
        weights = {"decoder.out.weight": np.ascontiguousarray(w), "decoder.out.bias": np.zeros(WIDTH, np.float32)}
        bundle.writestr("weights.safetensors", save(weights))
        if prior is not None:
            bundle.writestr("prior.safetensors", save({name: np.asarray(a, np.float64) for name, a in prior.items()}))
    return load_vae(open_bundle(path))


def report_on(
    vae: TorchVae,
    encoding: Encoding,
    families: Sequence[Family] = (Gaussian(), Mixture(components=2)),
    *,
    rows: int = 150,
    seed: int = 0,
) -> Report:
    """The report of the prior, where there is one, and of these families, each fitted to `encoding`."""
    subject = Subject(vae, encoding, None)
    prior = declared_prior(vae.manifest, vae.prior_parameters)
    ground = ground_of(subject, None, rows=rows, seed=seed, holdout=0.1, check=nothing)
    candidates = [] if prior is None else [Candidate("prior", Prior(), served=prior, judged=prior)]
    for family in families:
        request = FitRequest(model="m", dataset="d", family=family, seed=seed)
        fit = fit_posterior(encoding, request, prior, progress=nothing, check=nothing)
        served = density_of(fit.family, fit.parameters)
        judged = judged_density(encoding, ground.split, fit.family, served, check=nothing)
        name = f"{family.kind} {len(candidates)}"
        candidates.append(Candidate(name, Aggregate(fit=name), fit.family, served=served, judged=judged))
    return make_report(
        ground, candidates, prior,
        rows=rows, seed=seed, settings={}, batch_rows=256, threads=1, check=nothing, progress=nothing,
    )  # fmt: skip
