"""The learned prior of a bundle: the parameters of its mixture, checked."""

import numpy as np
import torch
from numpy.typing import NDArray

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.archive import PRIOR

Parameters = dict[str, NDArray[np.float64]]

_WEIGHT_SUM_TOLERANCE = 1e-4  # float32 weights of many components


def check_prior(manifest: VaeManifest, tensors: dict[str, torch.Tensor] | None) -> Parameters:
    """weights (K,), means (K, D) and variances (K, D) or covariances (K, D, D) in float64; empty without a mixture."""
    if manifest.prior.kind != "mixture":
        if tensors is not None:
            raise InvalidBundle(f"The prior is {manifest.prior.kind}, which needs no {PRIOR}.", pointer="/prior")
        return {}
    if tensors is None:
        raise InvalidBundle(f"The prior is a mixture, but the bundle has no {PRIOR}.", pointer="/prior")
    parameters = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    spread = "covariances" if "covariances" in parameters else "variances"
    if set(parameters) != {"weights", "means", spread}:
        raise InvalidBundle(f"{PRIOR} holds {sorted(parameters)}; a mixture has weights, means and {spread}.")
    _check_shapes(parameters, spread, manifest.latent.size)
    _check_values(parameters, spread)
    return parameters


def _check_shapes(parameters: Parameters, spread: str, size: int) -> None:
    components = parameters["weights"].shape[0] if parameters["weights"].ndim else 0
    expected = {
        "weights": (components,),
        "means": (components, size),
        spread: (components, size, size) if spread == "covariances" else (components, size),
    }
    for name, shape in expected.items():
        if parameters[name].shape != shape:
            raise InvalidBundle(
                f"{name} in {PRIOR} has shape {list(parameters[name].shape)}; for {components} components and "
                f"{size} latent values it must be {list(shape)}."
            )


def _check_values(parameters: Parameters, spread: str) -> None:
    weights = parameters["weights"]
    if weights.min() < 0 or abs(weights.sum() - 1) > _WEIGHT_SUM_TOLERANCE:
        raise InvalidBundle(f"weights in {PRIOR} must be at least 0 and add up to 1, not {weights.sum():.6g}.")
    if spread == "variances":
        if parameters[spread].min() <= 0:
            raise InvalidBundle(f"variances in {PRIOR} must be above 0; are they log variances?")
        return
    covariances = parameters[spread]
    if not np.allclose(covariances, np.swapaxes(covariances, 1, 2), rtol=1e-5, atol=1e-8):
        raise InvalidBundle(f"covariances in {PRIOR} must be symmetric.")
    try:
        np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError as error:
        raise InvalidBundle(f"covariances in {PRIOR} must be positive definite.") from error
