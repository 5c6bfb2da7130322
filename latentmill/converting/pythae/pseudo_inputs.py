"""The prior of a VAMP: a mixture of the posteriors of its learned pseudo-inputs."""

from typing import Any

import torch
from torch import nn

from latentmill.converting.pythae.networks import Weights
from latentmill.errors import InvalidBundle
from latentmill.exporting.modules import evaluating

_LAYER = "pseudo_inputs.0"


def mixture_of(weights: Weights, posterior: nn.Module, row_shape: tuple[int, ...]) -> dict[str, Any]:
    """p(z) = mean over k of N(z; mean(u_k), exp(log_covariance(u_k))), with u_k = clamp(W e_k + b, 0, 1).

    Formula and bounds of VAMP._log_p_z in pythae, after Tomczak and Welling, VAE with a VampPrior (2018), eq. 9.
    """
    try:
        columns, bias = weights[f"{_LAYER}.weight"], weights[f"{_LAYER}.bias"]
    except KeyError as error:
        raise InvalidBundle(f"This VAMP has no {error} among its weights: is the folder of another version?") from error
    rows = (columns.T + bias).clamp(0.0, 1.0).reshape(-1, *row_shape)
    with torch.no_grad(), evaluating(posterior):
        posterior.eval()
        means, log_variances = posterior(rows)
    count = len(rows)
    return {
        "kind": "mixture",
        "weights": torch.full((count,), 1.0 / count, dtype=torch.float64),
        "means": means.double(),
        "variances": log_variances.double().exp(),
    }
