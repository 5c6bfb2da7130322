"""A dataset as a report looks at it: posteriors under the model, and the rows as they would be delivered."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from workers.generation.encoding import numbers_in_model
from workers.models import Vae
from workers.posteriors.encoding import Encoding
from workers.posteriors.split import split_rows
from workers.rows import DatasetRows, RowBatch, codec

BLOCK_VALUES = 2**23  # values of real rows that are held at once as floats
SAMPLE_BYTES = 2**28  # of the rows of one candidate, as delivered

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Subject:
    """`encoding` of N rows, and the rows (N, ...) as the reader left them; None for a dataset of latents."""

    vae: Vae
    encoding: Encoding
    rows: DatasetRows | None

    def delivered(self, numbers: Rows) -> RowBatch:
        """The named rows as a job would deliver them: through the model's units, and typed."""
        step = self.block_rows
        parts = [self._delivered(numbers[first : first + step]) for first in range(0, max(1, len(numbers)), step)]
        return RowBatch.joined(parts)

    def _delivered(self, numbers: Rows) -> RowBatch:
        if self.rows is None:
            raise ValueError("a dataset of latents has no rows")
        rows = codec(self.vae.manifest.rows)
        order = np.argsort(numbers, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        floats = rows.to_model(np.asarray(self.rows[numbers[order]])[back])
        return rows.delivered(torch.from_numpy(floats))

    def blocks(self) -> Iterator[Rows]:
        """Ranges of all row numbers, each small enough to hold as floats."""
        for first in range(0, self.encoding.rows, self.block_rows):
            yield np.arange(first, min(first + self.block_rows, self.encoding.rows))

    @property
    def block_rows(self) -> int:
        """Rows that are held at once as floats."""
        return max(1, BLOCK_VALUES // self.values_per_row)

    @property
    def most_compared(self) -> int:
        """Rows of each sample that memory has room for: a report holds about ten samples at once."""
        fields = codec(self.vae.manifest.rows).fields
        row_bytes = sum(int(np.prod(field.shape)) * field.dtype.itemsize for field in fields)
        return max(1, SAMPLE_BYTES // row_bytes)

    @property
    def values_per_row(self) -> int:
        return int(np.prod(self.vae.manifest.rows.shape))

    def model_labels(self, numbers: Rows) -> NDArray[np.int64] | None:
        """The named rows' classes in a conditional model."""
        if self._numbers_in_model is None or self.encoding.labels is None:
            return None
        classes: NDArray[np.int64] = self._numbers_in_model[self.encoding.labels[numbers]]
        return classes

    @cached_property
    def _numbers_in_model(self) -> NDArray[np.int64] | None:
        return numbers_in_model(self.vae, self.encoding.labels, self.encoding.classes)


def halves(encoding: Encoding, rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
    """`rows` in two disjoint halves by content hash, labels in proportion; identical rows lie in the same half."""
    labels = None if encoding.labels is None else np.asarray(encoding.labels[rows])
    split = split_rows(np.asarray(encoding.row_digests[rows]), labels, seed=seed, holdout=0.5)
    return rows[split.holdout], rows[split.training]


def unseen_rows(reference: Encoding, dataset: Encoding) -> Rows:
    """The rows of `reference` whose bytes do not occur in `dataset`."""
    known = np.sort(_words(dataset))
    words = _words(reference)
    places = np.searchsorted(known, words).clip(max=len(known) - 1)
    return np.flatnonzero(known[places] != words)


def _words(encoding: Encoding) -> NDArray[np.uint64]:
    """The first 64 bits of each row's digest: two different rows share them with a chance of 1 in 2^64."""
    digests = np.ascontiguousarray(encoding.row_digests[:, :8])
    return digests.view(np.uint64).reshape(-1)
