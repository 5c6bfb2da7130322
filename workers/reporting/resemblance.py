"""Whether candidates hand out rows that the fits saw: one pass over every real row serves them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.diagnostics.duplicates import Duplicates, duplicates, row_digests
from workers.diagnostics.memorisation import Memorisation, NearestRows
from workers.posteriors.encoding import Encoding
from workers.reporting.ground import Ground
from workers.reporting.samples import Sample
from workers.reporting.yardstick import Look, Yardstick

Learned = NDArray[np.bool_]


@dataclass(frozen=True)
class Resemblance:
    """Of one sample to the real rows: in features and in latents, and to the last byte; None without real rows."""

    features: Memorisation | None
    latents: Memorisation
    duplicates: Duplicates | None

    @property
    def measured(self) -> tuple[Memorisation, ...]:
        return tuple(found for found in (self.features, self.latents) if found is not None)

    def as_json(self) -> dict[str, object]:
        """The resemblance as reports show it."""
        copies = self.duplicates.as_json() if self.duplicates is not None else {}
        features = self.features.as_json() if self.features is not None else None
        return {"features": features, "latents": self.latents.as_json(), **copies}


def resemblances(
    ground: Ground,
    yardstick: Yardstick,
    samples: Mapping[str, Sample],
    looks: Mapping[str, Look],
    check: Callable[[], None],
) -> dict[str, Resemblance]:
    """By candidate, against all rows of the dataset: those that the fits learned from, and the held-out ones."""
    subject, encoding = ground.subject, ground.subject.encoding
    learned = np.ones(encoding.rows, dtype=bool)
    learned[ground.split.holdout] = False
    in_latents = {name: NearestRows(look.latents) for name, look in looks.items()}
    _each_mean(encoding, yardstick, learned, in_latents, check)
    if subject.rows is None:
        return {name: Resemblance(None, near.memorisation(), None) for name, near in in_latents.items()}
    in_features = {name: NearestRows(look.rows) for name, look in looks.items()}
    digests = []
    for block in subject.blocks():
        rows = subject.delivered(block)
        digests.append(row_digests(rows, yardstick.fields))
        features = yardstick.row_features(rows)
        for near in in_features.values():
            check()
            near.add(features, learned[block])
    real = np.concatenate(digests)
    return {
        name: Resemblance(
            near.memorisation(),
            in_latents[name].memorisation(),
            duplicates(row_digests(samples[name].rows, yardstick.fields), real),
        )
        for name, near in in_features.items()
    }


def _each_mean(
    encoding: Encoding,
    yardstick: Yardstick,
    learned: Learned,
    nearest: Mapping[str, NearestRows],
    check: Callable[[], None],
) -> None:
    for block in encoding.blocks():
        means = yardstick.latent_features(encoding.mean[block])
        for near in nearest.values():
            check()
            near.add(means, learned[block])
