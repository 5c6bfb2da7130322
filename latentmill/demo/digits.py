"""The demo's data: scikit-learn's 1,797 handwritten digits, split once for training script and demo alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TRAINING_ROWS = 1297
SPLIT_SEED = 20180101
CLASSES = tuple("0123456789")
SIDE = 8

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """Images (n, 8, 8) of 0..255: those that VAE and fits see with their labels, and 500 that nothing ever sees."""

    training: Images
    training_labels: NDArray[np.int64]
    unseen: Images

    @property
    def reference(self) -> Images:
        """The half of the unseen digits that generated rows are compared with."""
        return self.unseen[: len(self.unseen) // 2]

    @property
    def floor(self) -> Images:
        """The other half: its reconstructions show how near the decoder could come at best."""
        return self.unseen[len(self.unseen) // 2 :]


def load() -> Digits:
    """The digits, shuffled by a fixed seed: in the file, neighbours were written by the same hand."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
    pictures = np.rint(images[order] * (255 / 16)).astype(np.uint8).reshape(-1, SIDE, SIDE)
    return Digits(
        training=pictures[:TRAINING_ROWS],
        training_labels=labels[order][:TRAINING_ROWS].astype(np.int64),
        unseen=pictures[TRAINING_ROWS:],
    )
