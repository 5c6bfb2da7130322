"""Generated digits against digits that nothing saw: kernel distances, and how near the decoder could come at best."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.demo.digits import SIDE, Digits, Images
from workers.diagnostics.features import principal_features
from workers.diagnostics.kernel import kernel_distance, kernel_distance_difference
from workers.models import load_vae, open_bundle
from workers.posteriors.estimate import Estimate
from workers.rows import codec


@dataclass(frozen=True)
class Distances:
    """Kernel distances to the reference digits, by name, and the paired differences from the prior's."""

    to_reference: dict[str, Estimate]
    from_prior: dict[str, Estimate]
    floor: Estimate
    rows: int


def compare(generated: dict[str, Images], digits: Digits, bundle: Path) -> Distances:
    """Every dataset in sets of as many rows as there are reference digits; distances are averaged over the sets."""
    rows = len(digits.reference)
    features = principal_features(digits.training, rows)
    reference = features(digits.reference)
    sets = {name: _sets(features(images), rows) for name, images in generated.items()}
    floor = features(reconstructed(digits.floor, bundle))
    return Distances(
        to_reference={name: _mean([kernel_distance(made, reference) for made in own]) for name, own in sets.items()},
        from_prior={
            name: _mean(
                [
                    kernel_distance_difference(made, prior, reference)
                    for made, prior in zip(own, sets["prior"], strict=True)
                ]
            )
            for name, own in sets.items()
        },
        floor=kernel_distance(floor, reference),
        rows=rows,
    )


def _sets(features: NDArray[np.float64], rows: int) -> list[NDArray[np.float64]]:
    return [features[first : first + rows] for first in range(0, len(features) - rows + 1, rows)]


def _mean(estimates: list[Estimate]) -> Estimate:
    """The mean of estimates that share their reference. Its error is at most the mean of theirs, which is stated."""
    values, errors = zip(*((estimate.value, estimate.standard_error) for estimate in estimates), strict=True)
    return Estimate(float(np.mean(values)), float(np.mean(errors)))


def reconstructed(images: Images, bundle: Path) -> Images:
    """Each image encoded and decoded again, as a job would deliver it."""
    vae = load_vae(open_bundle(bundle), inspected=True)
    rows = codec(vae.manifest.rows)
    mean, _ = vae.encode(torch.from_numpy(rows.to_model(images)))
    return _pictures(rows.delivered(vae.decode(mean)).values["rows"])


def read_images(folder: Path) -> Images:
    """The rows of a downloaded dataset, shard by shard."""
    shards = []
    for path in sorted(folder.glob("data-*.npz")):
        with np.load(path) as shard:
            shards.append(shard["rows"])
    return _pictures(np.concatenate(shards))


def _pictures(rows: NDArray[np.uint8]) -> Images:
    return rows.reshape(-1, SIDE, SIDE)
