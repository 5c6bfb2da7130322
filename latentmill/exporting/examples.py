"""Seeded inputs that modules and bundle are tried on."""

from math import prod

import torch
from torch import Tensor

from latentmill.specs import ImageRows, VaeManifest
from workers.models.labels import conditions


def example_rows(manifest: VaeManifest, rows: int, seed: int) -> Tensor:
    """Rows as an encoder takes them: within the declared range for images, standard normal for the others."""
    generator = torch.Generator().manual_seed(seed)
    declared = manifest.rows
    if isinstance(declared, ImageRows) and declared.mean is None:
        low, high = declared.range
        return low + (high - low) * torch.rand(rows, *declared.shape, generator=generator)
    return torch.randn(rows, *declared.shape, generator=generator)


def example_latents(manifest: VaeManifest, rows: int, seed: int) -> Tensor:
    """Standard normal latents (rows, *latent.shape)."""
    flat = torch.randn(rows, prod(manifest.latent.shape), generator=torch.Generator().manual_seed(seed))
    return flat.reshape(rows, *manifest.latent.shape)


def example_labels(manifest: VaeManifest, rows: int) -> Tensor | None:
    """Class indices (rows,), every class in turn; None for a model without labels."""
    return None if manifest.labels is None else torch.arange(rows) % len(manifest.labels.classes)


def example_conditions(manifest: VaeManifest, rows: int) -> Tensor | None:
    """`example_labels` as the modules take them: one-hot, or the index."""
    labels = example_labels(manifest, rows)
    return None if labels is None else conditions(labels, manifest)
