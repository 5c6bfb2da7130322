"""What the demo found: the table, and two sentences computed from it."""

from dataclasses import dataclass

from rich.table import Table

from latentmill.demo.comparing import Distances
from workers.posteriors.estimate import Estimate

_CLEAR = 3.0  # standard errors


@dataclass(frozen=True)
class Made:
    """One strategy's job: rows, the time from the request to the finished dataset, and its fit's held-out gain."""

    strategy: str
    rows: int
    seconds: float
    gain: Estimate | None


def table(made: list[Made], distances: Distances) -> Table:
    """One line for each strategy, and one for the floor."""
    shown = Table(title="Where should the latents of a synthetic dataset come from?", title_justify="left", box=None)
    for heading in ("strategy", "rows", "seconds", "rows/s", "held-out gain, nats", "kernel distance"):
        shown.add_column(heading, justify="left" if heading == "strategy" else "right")
    for job in made:
        gain = "0 by definition" if job.gain is None else _with_error(job.gain, 2)
        distance = _with_error(distances.to_reference[job.strategy], 3)
        shown.add_row(
            job.strategy, f"{job.rows:,}", f"{job.seconds:.1f}", f"{job.rows / job.seconds:,.0f}", gain, distance
        )
    shown.add_row("floor", "", "", "", "", _with_error(distances.floor, 3), style="dim")
    return shown


def notes(distances: Distances) -> str:
    """What the columns mean."""
    return (
        "seconds: from the request to the finished dataset, one job after the other. held-out gain: by how much the "
        "ELBO of held-out rows rises when the prior is replaced by the fit. kernel distance: each dataset, "
        f"{distances.rows} rows at a time, to {distances.rows} digits that neither VAE nor fit saw; floor: "
        "reconstructions of other unseen digits."
    )


def sentences(made: list[Made], distances: Distances) -> str:
    """The answer for this model, whatever the numbers turned out to be."""
    fits = [job for job in made if job.gain is not None]
    best = max(fits, key=lambda job: job.gain.value if job.gain is not None else 0.0)
    gain = best.gain or Estimate(0.0, 0.0)
    clear = gain.value > _CLEAR * gain.standard_error
    nats = f"{_with_error(gain, 2)} nats"
    if clear:
        first = f"Draw from the {best.strategy} fitted to the latents: held-out rows gain {nats} over N(0, I)."
    else:
        first = f"Draw from N(0, I): the best fit, the {best.strategy}, gains no more than {nats}."
    prior, chosen = distances.to_reference["prior"], distances.to_reference[best.strategy]
    difference = distances.from_prior[best.strategy]
    if difference.value < -_CLEAR * difference.standard_error:
        closed = (prior.value - chosen.value) / (prior.value - distances.floor.value)
        second = (
            f"Its rows lie nearer to unseen digits, {chosen.value:.3f} instead of {prior.value:.3f}, which closes "
            f"{_share(closed)} of the gap between the prior and what the decoder can do at best."
        )
    else:
        second = (
            f"At {distances.rows} rows its digits cannot be told from the prior's: their distances to unseen digits "
            f"differ by {_with_error(difference, 3)}."
        )
    return f"{first} {second}"


def _share(part: float) -> str:
    return "all" if part >= 0.995 else f"{part:.0%}"


def _with_error(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f} ± {estimate.standard_error:.{digits}f}"
