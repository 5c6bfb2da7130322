"""Generated digits against digits that nothing saw: kernel distances, and how near the decoder could come at best."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.demo.digits import SIDE, Digits, Images
from workers.diagnostics.quality import kernel_distance, kernel_distance_difference, principal_features
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
    """Distances of as many rows of each dataset as there are reference digits: one law of error for all."""
    rows = len(digits.reference)
    features = principal_features(digits.training, rows)
    reference = features(digits.reference)
    found = {name: features(images[:rows]) for name, images in generated.items()}
    return Distances(
        to_reference={name: kernel_distance(made, reference) for name, made in found.items()},
        from_prior={name: kernel_distance_difference(made, found["prior"], reference) for name, made in found.items()},
        floor=kernel_distance(features(reconstructed(digits.floor, bundle)[:rows]), reference),
        rows=rows,
    )


def reconstructed(images: Images, bundle: Path) -> Images:
    """Each image encoded and decoded again, as a job would deliver it."""
    vae = load_vae(open_bundle(bundle))
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
