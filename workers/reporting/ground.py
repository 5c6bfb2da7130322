"""The rows that a report stands on: who is learned from, who judges, and who is compared with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import DataError
from workers.posteriors.encoding import Encoding
from workers.posteriors.measurement import Measurement, measure
from workers.posteriors.split import Split, split_rows
from workers.posteriors.twin import label_texts
from workers.reporting.subject import Rows, Subject, halves, unseen_rows

FULL_MEASURE_SIZE = 1024  # up to here covariances are measured
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
    def groups(self) -> NDArray[np.int64]:
        """Numbers that identical judging rows share, (n,)."""
        digests = np.ascontiguousarray(self.judge.encoding.row_digests[self.judging])
        return np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def ground_of(
    subject: Subject, reference: Subject | None, *, rows: int, seed: int, holdout: float, check: Callable[[], None]
) -> Ground:
    """The split of the dataset, and n = min(rows, half of the judging rows) rows for each reference."""
    encoding = subject.encoding
    split = split_rows(encoding.row_digests, encoding.labels, seed=seed, holdout=holdout)
    judge = subject if reference is None else reference
    judging = split.holdout if reference is None else unseen_rows(reference.encoding, encoding)
    if len(judging) < 2:
        raise DataError(
            "Every row of the reference is also a row of the dataset: upload rows that the dataset does not have."
            if reference is not None
            else f"{len(judging)} of {encoding.rows:,} rows are held out: too few to judge by; upload more rows.",
            pointer="/dataset" if reference is None else "/reference",
        )
    if reference is not None and subject.vae.manifest.labels is not None:
        _refuse_unknown_labels(subject.encoding, judge.encoding, judging)
    first, second = halves(judge.encoding, judging, seed=seed)
    compared = min(rows, len(first), len(second))
    measured = measure(encoding, split, full=encoding.latent_size <= FULL_MEASURE_SIZE, check=check)
    return Ground(subject, split, measured, judge, judging, first[:compared], second[:compared])


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
