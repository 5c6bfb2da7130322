"""MNIST, pooled, shuffled once and split three ways: what the VAEs train on, a reference, and an untouched test set."""

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
SPLIT_SEED = 20260101
TRAINING_ROWS, REFERENCE_ROWS = 50_000, 10_000
SIDE = 28

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Digits:
    """Images (n, 28, 28) of 0..255 and their labels (n,)."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> "Digits":
        return Digits(self.images[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Split:
    """training: what a user has, the VAE saw it; reference: kept by that user from the VAE; test: seen by nobody."""

    training: Digits
    reference: Digits
    test: Digits


@cache
def load(folder: Path = FOLDER) -> Split:
    """All 70,000 digits in an order of their own: the files' heads and tails were written by different people."""
    parts = [
        (_idx(folder / f"{name}-images-idx3-ubyte.gz"), _idx(folder / f"{name}-labels-idx1-ubyte.gz"))
        for name in ("train", "t10k")
    ]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
    digits = Digits(images[order], labels[order].astype(np.int64))
    seen = TRAINING_ROWS + REFERENCE_ROWS
    return Split(digits[:TRAINING_ROWS], digits[TRAINING_ROWS:seen], digits[seen:])


def _idx(path: Path) -> NDArray[np.uint8]:
    raw = gzip.decompress(path.read_bytes())
    axes = raw[3]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(np.frombuffer(raw, ">i4", axes, offset=4))
