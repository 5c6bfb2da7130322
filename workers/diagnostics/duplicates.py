"""Exact copies: generated rows that are real rows to the last byte, beside real rows that are copies of each other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.values import missing_values
from workers.rows import Field, RowBatch

DIGEST_BYTES = 16

Digests = NDArray[np.uint8]


@dataclass(frozen=True)
class Duplicates:
    """How many generated rows equal a real row, and how many real rows equal another real row."""

    duplicates: int
    generated: int
    duplicates_among_real: int
    real: int

    def as_json(self) -> dict[str, float]:
        """Counts, and the shares of rows that they are: there are more real rows than generated ones."""
        return {
            "duplicates": self.duplicates,
            "duplicates_share": self.duplicates / self.generated,
            "duplicates_among_real": self.duplicates_among_real,
            "duplicates_among_real_share": self.duplicates_among_real / self.real,
        }


def duplicates(generated: Digests, real: Digests) -> Duplicates:
    """Compares the digests (G, 16) of generated rows with those (N, 16) of all real rows, both from `row_digests`."""
    made, own = _texts(generated), _texts(real)
    found, times = np.unique(own, return_counts=True)
    return Duplicates(int(np.isin(made, found).sum()), len(made), int(times[times > 1].sum()), len(own))


def row_digests(batch: RowBatch, fields: Sequence[Field]) -> Digests:
    """16 bytes for each delivered row, (n, 16): equal for rows that are equal, missing values included.

    Small enough to keep for every real row (32 MB for 2,000,000) while the rows themselves pass in blocks.
    """
    parts = []
    for field in fields:
        values = batch.values[field.name].astype(field.dtype)
        if field.missing:
            missing = missing_values(batch, field)
            values[missing] = 0  # whatever stands there is not delivered
            parts.append(missing[:, None].astype(np.uint8))
        if values.dtype.kind == "f":
            values += 0.0  # -0.0 equals 0.0
        parts.append(np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8))
    text = np.concatenate(parts, axis=1)
    hashed = b"".join(hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in text)
    return np.frombuffer(hashed, dtype=np.uint8).reshape(len(text), DIGEST_BYTES)


def _texts(digests: Digests) -> NDArray[np.void]:
    return np.ascontiguousarray(digests).view(np.dtype((np.void, DIGEST_BYTES))).ravel()
