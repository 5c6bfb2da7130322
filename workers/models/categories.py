"""A decoder whose values have a categorical likelihood: what category k stands for, and what their mean is."""

import torch
from torch import Tensor

from latentmill.specs import ImageRows, VaeManifest


def has_category_axis(decoded: Tensor, manifest: VaeManifest) -> bool:
    """Whether each value of a row comes as K categories on one axis more; otherwise the row's last axis holds them."""
    return manifest.likelihood.kind == "categorical" and decoded.dim() == len(manifest.rows.shape) + 2


def category_values(manifest: VaeManifest, categories: int) -> Tensor:
    """What a value of a row is in category k of K, ready to be multiplied with (..., K), in the model's space.

    Pixels: K levels spread evenly over the range, so that 256 of them are the 256 of a uint8. Otherwise k itself.
    """
    rows = manifest.rows
    if not isinstance(rows, ImageRows):
        return torch.arange(categories, dtype=torch.float32)
    low, high = rows.range
    values = torch.linspace(low, high, categories) if categories > 1 else torch.tensor([low])
    if rows.mean is None or rows.std is None:
        return values
    normalised = (values - torch.tensor(rows.mean)[:, None]) / torch.tensor(rows.std)[:, None]
    return normalised[:, None, None, :] if rows.layout == "CHW" else normalised


def mean_of_categories(probabilities: Tensor, manifest: VaeManifest) -> Tensor:
    """sum_k p_k v_k, (n, *shape), from (n, *shape, K)."""
    values = category_values(manifest, probabilities.shape[-1]).to(probabilities.device)
    return (probabilities * values).sum(-1)
