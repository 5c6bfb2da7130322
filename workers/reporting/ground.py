"""The rows that a report stands on: who is learned from, who judges, and who is compared with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError
from latentmill.specs import SeriesRows
from workers.diagnostics.overlap import shared_steps
from workers.posteriors.encoding import Encoding
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.split import Split, split_rows
from workers.posteriors.twin import label_texts
from workers.reporting.subject import Rows, Subject, halves, unseen_rows

FULL_MEASURE_SIZE = 1024  # up to here covariances are measured
FEWEST_JUDGES = 2
SHOWN_LABELS = 10


@dataclass(frozen=True, eq=False)
class Ground:
    """The rows of a report.

    split: of the dataset, as its fits were made by; judge, judging: whose rows score densities, the held-out ones or
    those of a reference that the VAE never saw; first, second: n rows of each half of them, for references and floors.
    """

    subject: Subject
    split: Split
    measured: Measurement
    judge: Subject
    judging: Rows
    first: Rows
    second: Rows

    @property
    def compared(self) -> int:
        """n, the rows of every sample."""
        return len(self.first)

    @property
    def seen(self) -> int:
        """Rows of a reference that do not judge, as the dataset has them too."""
        return 0 if self.judge is self.subject else self.judge.encoding.rows - len(self.judging)

    @property
    def may_share_steps(self) -> bool:
        """Whether rows that judge may be windows of a series that overlap with others, and nothing said so yet."""
        spec = self.subject.vae.manifest.rows
        if not isinstance(spec, SeriesRows) or self.judge is not self.subject:
            return False
        return self.subject.rows is None or shared_steps(self.subject.rows, spec) == 0  # else the encoding warned

    @property
    def judges(self) -> str:
        """What the judging rows belong to."""
        return "dataset" if self.judge is self.subject else "reference"

    @property
    def larger(self) -> str:
        """What gives more rows to judge by, where it is larger."""
        return "dataset, holdout or reference" if self.judge is self.subject else "reference"

    @property
    def groups(self) -> NDArray[np.int64]:
        """Numbers that identical judging rows share, (n,)."""
        digests = np.ascontiguousarray(self.judge.encoding.row_digests[self.judging])
        return np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def ground_of(
    subject: Subject, reference: Subject | None, *, rows: int, seed: int, holdout: float, check: Callable[[], None]
) -> Ground:
    """The split of the dataset, and n rows for each reference: `rows`, half of what judges, or what memory holds."""
    encoding = subject.encoding
    split = split_rows(encoding.row_digests, encoding.labels, seed=seed, holdout=holdout)
    judge = subject if reference is None else reference
    judging = split.holdout if reference is None else unseen_rows(reference.encoding, encoding)
    _refuse_few_rows(encoding, split, reference, judging)
    if reference is not None and subject.vae.manifest.labels is not None:
        _refuse_unknown_labels(subject.encoding, judge.encoding, judging)
    first, second = halves(judge.encoding, judging, seed=seed)
    compared = min(rows, len(first), len(second), subject.most_compared)
    measured = measure(encoding, split, full=encoding.latent_size <= FULL_MEASURE_SIZE, check=check)
    return Ground(subject, split, measured, judge, judging, first[:compared], second[:compared])


def _refuse_few_rows(encoding: Encoding, split: Split, reference: Subject | None, judging: Rows) -> None:
    if len(split.training) == 0:
        different = int(split.groups.max()) + 1
        raise DataError(
            f"The {encoding.rows:,} rows hold {different} different ones: too few to learn from some and hold others "
            "out; upload more rows.",
            pointer="/dataset",
        )
    if len(judging) >= FEWEST_JUDGES:
        return
    if reference is None:
        raise DataError(
            f"{len(judging)} of {encoding.rows:,} rows are held out: too few to judge by; upload more rows.",
            pointer="/dataset",
        )
    raise DataError(
        f"Of the {reference.encoding.rows:,} rows of the reference {len(judging)} are not in the dataset too: too few "
        "to judge by; upload rows that the dataset does not have.",
        pointer="/reference",
    )


def _refuse_unknown_labels(dataset: Encoding, reference: Encoding, judging: Rows) -> None:
    """A conditional model's rows are judged given their label, so the fits need to have seen each of these."""
    found, known = label_texts(reference, judging), label_texts(dataset, np.arange(dataset.rows))
    unknown = [] if found is None or known is None else sorted(set(found.tolist()) - set(known.tolist()))
    if unknown:
        named = ", ".join(map(repr, unknown[:SHOWN_LABELS])) + (", ..." if len(unknown) > SHOWN_LABELS else "")
        label = "the label" if len(unknown) == 1 else "the labels"
        raise DataError(
            f"The reference has {label} {named}, which no row of the dataset has, so nothing was fitted that could be "
            "judged by them: leave these rows out of the reference, or upload a dataset that has such rows too.",
            pointer="/reference",
        )
