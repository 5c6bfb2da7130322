"""What the product advises on the uploaded rows, with and without rows that the VAE never saw.

What decides in a report is measured by the report's own functions; measures that only explain are left out, which is
six times as fast. `--check` makes whole reports of some cells and compares.
"""

import time
from typing import Any

from benchmarks.strategies.cell import DECODE_ROWS, HOLDOUT, SEED, Cell, Model, encoded, go_on
from benchmarks.strategies.mnist import Digits
from latentmill.specs import Aggregate, Prior
from workers.diagnostics.contender import Contender
from workers.diagnostics.kernel import kernel_distance_difference
from workers.diagnostics.recommendation import recommend
from workers.posteriors.judging import judged_density
from workers.randomness.streams import Stream
from workers.reporting.candidates import Candidate, judged_densities, sample_of
from workers.reporting.ground import Ground, ground_of
from workers.reporting.report import make_report
from workers.reporting.resemblance import resemblances
from workers.reporting.samples import around
from workers.reporting.scores import held_out_scores
from workers.reporting.subject import Subject
from workers.reporting.yardstick import yardstick_of

DEFAULT = ("gaussian", "mixture", "flow", "empirical")  # and the prior: what a report looks at unless told otherwise
ROWS = 2_000


class Adviser:
    """Advises on one model's cells; `reference` are rows that its VAE never saw."""

    def __init__(self, model: Model, reference: Digits) -> None:
        self.model = model
        self.reference = Subject(model.vae, encoded(model, reference), reference.images)

    def advice(self, cell: Cell, *, with_reference: bool) -> dict[str, Any]:
        """The recommendation of the default report on a cell's rows, and what it was based on."""
        started = time.perf_counter()
        ground = self._ground(cell, with_reference)
        contenders = _contenders(ground, self._candidates(cell, ground))
        advised = recommend(contenders, ground.groups)
        return {
            "choice": advised.candidate,
            "evidence": advised.evidence,
            "reason": advised.reason,
            "rows": ground.compared,
            "judging": len(ground.judging),
            "candidates": {
                each.name: {
                    "gain": gain.as_json() if (gain := advised.gains[each.name]) is not None else None,
                    "over_prior": each.kernel_over_prior.as_json() if each.kernel_over_prior is not None else None,
                    "marks": each.marks(gain),
                    "why_not": advised.why_not.get(each.name),
                }
                for each in contenders
            },
            "seconds": time.perf_counter() - started,
        }

    def recommended_by_report(self, cell: Cell, *, with_reference: bool) -> dict[str, Any]:
        """The recommendation of a whole report on the same rows."""
        ground = self._ground(cell, with_reference)
        report = make_report(
            ground,
            self._candidates(cell, ground),
            self.model.prior,
            rows=ROWS,
            seed=SEED,
            settings={},
            batch_rows=DECODE_ROWS,
            threads=1,
            check=go_on,
            progress=lambda _: None,
        )
        return report.content["recommendation"]

    def _ground(self, cell: Cell, with_reference: bool) -> Ground:
        subject = Subject(self.model.vae, cell.encoding, cell.uploaded.images)
        reference = self.reference if with_reference else None
        return ground_of(subject, reference, rows=ROWS, seed=SEED, holdout=HOLDOUT, check=go_on)

    def _candidates(self, cell: Cell, ground: Ground) -> list[Candidate]:
        prior = Candidate("prior", Prior(), served=self.model.prior, judged=self.model.prior)
        return [prior, *(self._candidate(cell, ground, name) for name in DEFAULT if name in cell.names)]

    def _candidate(self, cell: Cell, ground: Ground, name: str) -> Candidate:
        family, served = cell.family(name), cell.density(name)
        judged = served  # an unseen reference judges what is served; held-out rows judge its twin, which never saw them
        if ground.judge is ground.subject:
            judged = judged_density(cell.encoding, ground.split, family, served, check=go_on)
        return Candidate(name, Aggregate(fit=name), family, fit=name, served=served, judged=judged)


def _contenders(ground: Ground, candidates: list[Candidate]) -> list[Contender]:
    """The candidates with all that decides: held-out scores, kernel distances over the prior's, memorisation."""
    scores = held_out_scores(ground, judged_densities(candidates), conditional=False, seed=SEED, check=go_on)
    reference = around(ground.judge, ground.first, seed=SEED, stream=Stream.REPORT_REFERENCE, batch_rows=DECODE_ROWS)
    yardstick = yardstick_of(ground, reference, None, None, seed=SEED)
    samples = {
        each.name: sample_of(each, ground.subject, None, ground.compared, seed=SEED, batch_rows=DECODE_ROWS)
        for each in candidates
    }
    looks = {name: yardstick.look(sample) for name, sample in samples.items()}
    alike = resemblances(ground, yardstick, samples, looks, go_on)
    return [
        Contender(
            each.name,
            each.strategy.canonical() if each.strategy is not None else {},
            family=each.family,
            scores=scores[each.name],
            kernel_over_prior=kernel_distance_difference(
                looks[each.name].rows, looks["prior"].rows, yardstick.decoded.rows
            ),
            memorisation=alike[each.name].measured,
        )
        for each in candidates
    ]
