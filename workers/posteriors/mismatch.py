"""How far an aggregate posterior lies from the prior: the diagnostics of fits and of reports, in nats."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from workers.posteriors.density import Density
from workers.posteriors.divergence import Divergence, Measurer, average
from workers.posteriors.encoding import Encoding
from workers.posteriors.estimate import Estimate
from workers.posteriors.gaussian import DiagonalGaussian
from workers.posteriors.information import MAX_DRAWS
from workers.posteriors.marginal_kl import LEAVE_ONE_OUT, HeldOut, marginal_kl, negentropy
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.prior import is_standard_normal
from workers.posteriors.split import Split
from workers.posteriors.twin import DIAGONAL, FULL, members_of


def mismatch_of(
    encoding: Encoding,
    split: Split,
    measured: Measurement,
    held_out: HeldOut | None,
    prior: Density | None,
    *,
    conditional: bool,
    seed: int,
    check: Callable[[], None],
) -> dict[str, Any]:
    """What the contract lists under "Fit diagnostics", but for what belongs to one fit.

    `held_out` has the scores of the fit or of all candidates by name, among them those of `gaussian_twin`. Generation
    of a conditional model draws y, then z, so that each quantity is mean_y of that of the label's rows, weighted by
    how many there are, and `per_label` lists them: mean_y KL(q(z|y) || p) = KL(q(z) || p) + I(z; y). Null stands where
    a quantity does not exist, as rates of an encoder without noise.
    """
    baseline = prior if prior is not None else DiagonalGaussian(measured.training.mean, measured.training.variance)
    measurer = Measurer(encoding, prior, baseline, seed, check)
    members = members_of(encoding, split) if conditional else None
    parts = {} if members is None else _parts(measurer, members, full=measured.all_rows.full)
    if parts:
        rows = np.array([part.rows for part in parts.values()], dtype=np.float64)
        found = replace(average(list(parts.values()), rows / rows.sum()), rate=measurer.rate(split, measured))
    else:
        found = measurer.of(split, measured)
    normal = is_standard_normal(prior)
    per_label = [_label(name, part, held_out, prior) for name, part in parts.items()]
    return {
        "rows": found.rows,
        "latent_size": encoding.latent_size,
        "active_units": measured.active_units,
        "informative_units": measured.informative_units,
        "inert_dimensions": measured.inert_dimensions().tolist() if normal else [],
        **_summary(found, held_out, prior),
        "per_dimension": _per_dimension(measured, found, normal),
        **({"per_label": per_label} if parts else {}),
    }


def _parts(measurer: Measurer, members: Mapping[str, Split], *, full: bool) -> dict[str, Divergence]:
    """What each label's rows are measured to be; their draws share no noise."""
    total = sum(len(member.fit) for member in members.values())
    parts: dict[str, Divergence] = {}
    for number, (name, member) in enumerate(members.items()):
        of_label = measure(measurer.encoding, member, full=full, check=measurer.check)
        share = len(member.fit) / max(total, 1)
        parts[name] = measurer.of(member, of_label, share=share, first_draw=number * MAX_DRAWS)
    return parts


def _label(name: str, part: Divergence, held_out: HeldOut | None, prior: Density | None) -> dict[str, Any]:
    """One label's entry: its own rows, held out and not."""
    own = None if held_out is None else held_out.of_label(name)
    gains = (
        {} if own is None else {of: gain.as_json() for of, gain in own.gains().items() if of not in (FULL, DIAGONAL)}
    )
    return {"label": name, "rows": part.rows, **_summary(part, own, prior), "gains": gains}


def _summary(found: Divergence, held_out: HeldOut | None, prior: Density | None) -> dict[str, Any]:
    """Rate, bracket, information and what lies beyond the moments, of one set of rows or of an average."""
    information = found.information
    gains = {} if held_out is None else held_out.gains()
    lower = dict(gains)
    if information.leave_one_out is not None:
        lower[LEAVE_ONE_OUT] = information.leave_one_out
    bracket = marginal_kl(lower, upper=found.upper, saturated=information.saturated)
    beyond = None if held_out is None or FULL not in gains else negentropy(bracket, held_out, FULL)
    rate = found.rate
    drawn = rate is not None and rate.standard_error > 0
    known = found.upper is not None and found.gaussian_kl is not None
    return {
        "mean_kl": None if rate is None else rate.value,
        **({"mean_kl_standard_error": rate.as_json()["standard_error"]} if rate is not None and drawn else {}),
        "marginal_kl": None if prior is None else bracket.as_json(),
        "gaussian_kl": found.gaussian_kl,
        "gaussian_gain": _gaussian_gain(gains),
        "negentropy": None if beyond is None else beyond.as_json(),
        "negentropy_upper": found.upper - found.gaussian_kl if known else None,  # type: ignore[operator]
        "index_code_mutual_information": None if information.index_code is None else information.index_code.as_json(),
        "index_code_ceiling": information.ceiling,
        "leave_one_out": None if information.leave_one_out is None else information.leave_one_out.as_json(),
    }


def _gaussian_gain(gains: Mapping[str, Estimate]) -> dict[str, Any] | None:
    """The held-out gain of the moments, and whether with correlations."""
    for name, covariance in ((FULL, "full"), (DIAGONAL, "diagonal")):
        if name in gains:
            return {**gains[name].as_json(), "covariance": covariance}
    return None


def _per_dimension(measured: Measurement, found: Divergence, normal: bool) -> list[dict[str, float | None]]:
    moments = measured.all_rows
    columns = {
        "mean": moments.mean,
        "variance": moments.variance,
        "mean_variance": moments.mean_variance,
        "std_mean_square": moments.std_mean_square,
        "kl_to_prior": measured.rate if normal else np.full(len(moments.mean), np.nan),
        "marginal_kl": found.marginals,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        {name: value if np.isfinite(value) else None for name, value in zip(columns, row, strict=True)} for row in rows
    ]
