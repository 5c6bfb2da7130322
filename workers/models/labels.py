"""Labels as the networks take them."""

import torch
from torch import Tensor

from latentmill.specs import VaeManifest


def conditions(labels: Tensor, manifest: VaeManifest) -> Tensor:
    """`y` as the networks take it: one-hot float (n, K), or the index (n,)."""
    if manifest.labels is None or manifest.labels.encoding == "index":
        return labels.long()
    return (labels[:, None] == torch.arange(len(manifest.labels.classes), device=labels.device)).float()
