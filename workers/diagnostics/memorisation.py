"""Does a fit hand out the rows it was fitted to? Nearest neighbours tell, beside what chance would do."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.features import row_blocks

MEMORISES = 4.0  # errors above chance from which a candidate is marked
ROUNDING = 1e-12  # of the largest squared norm: a tie, as between rows with equal features, stays with the first

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Memorisation:
    """Share s of generated rows whose nearest real row is one the fit learned from, against its share p0 of the rows.

    SE = sqrt(p0 (1 - p0) sum_r c_r^2) / G, c_r = how many of the G generated rows have the real row r as their
    nearest: rows that are nearest to many are one piece of evidence, not many. z = (s - p0) / SE. It tests the fit, not
    the VAE, which may have trained on all of them.
    """

    share: float
    expected: float
    standard_error: float
    z: float

    @property
    def marked(self) -> bool:
        """Far more of the fit's own rows are nearest than chance explains."""
        return self.z > MEMORISES

    def as_json(self) -> dict[str, float]:
        """What a report shows."""
        return {"share": self.share, "expected": self.expected, "standard_error": self.standard_error, "z": self.z}


def memorisation(generated: Floats, blocks: Iterable[tuple[Floats, NDArray[np.bool_]]]) -> Memorisation:
    """Nearest neighbours of features (G, d) among all real rows, which come in blocks: features (b, d), marks (b,).

    A mark says whether the fit learned from the row (fit or tune) or not (holdout). All of these rows must come: among
    a part of them other rows would be nearest. Their order must not depend on the split, as that of the dataset does
    not: of equally near rows the first counts.
    """
    nearest = NearestRows(generated)
    for features, learned in blocks:
        nearest.add(features, learned)
    return nearest.memorisation()


class NearestRows:
    """The nearest real row of each generated row, found block by block, so that one pass can serve many samples."""

    def __init__(self, generated: Floats) -> None:
        # |g - y|^2 - |g|^2 = (-2 g, 1)'(y, |y|^2): one product, and what it leaves out changes no order.
        self._generated = np.concatenate([-2.0 * generated, np.ones((len(generated), 1))], axis=1)
        self._norm = float(np.einsum("ij,ij->i", generated, generated).max(initial=0.0))
        self._distance = np.full(len(generated), np.inf)
        self._row = np.zeros(len(generated), dtype=np.int64)
        self._learned = np.zeros(len(generated), dtype=bool)
        self._rows = self._rows_learned = 0

    def add(self, features: Floats, learned: NDArray[np.bool_]) -> None:
        """Real rows (b, d), which follow those that came before, and whether the fit learned from them (b,)."""
        for block in row_blocks(len(features)):
            self._add(features[block], learned[block])

    def memorisation(self) -> Memorisation:
        """The share of rows that the fit learned from among the nearest, and what chance gives."""
        if not 0 < self._rows_learned < self._rows:
            raise ValueError(
                f"{self._rows_learned} of {self._rows} rows are the fit's own; without held-out rows beside them "
                "nothing tells memorisation from chance"
            )
        generated = len(self._row)
        share, expected = float(self._learned.mean()), self._rows_learned / self._rows
        times = np.unique(self._row, return_counts=True)[1].astype(np.float64)
        error = sqrt(expected * (1.0 - expected) * float(times @ times)) / generated
        return Memorisation(share, expected, error, (share - expected) / error)

    def _add(self, features: Floats, learned: NDArray[np.bool_]) -> None:
        norms = np.einsum("ij,ij->i", features, features)
        slack = ROUNDING * max(self._norm, float(norms.max()))
        distances = self._generated @ np.concatenate([features, norms[:, None]], axis=1).T
        closest = distances.min(axis=1)
        nearer = np.flatnonzero(closest < self._distance - slack)
        first = (distances[nearer] <= closest[nearer, None] + slack).argmax(axis=1)
        self._distance[nearer] = closest[nearer]
        self._row[nearer] = self._rows + first
        self._learned[nearer] = learned[first]
        self._rows += len(features)
        self._rows_learned += int(learned.sum())
