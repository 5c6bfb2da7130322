"""What is said of a VAE when it is exported, as the manifest of its bundle."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Declaration:
    """The arguments of an export that become the manifest, and the parameters of a learned prior."""

    fields: dict[str, Any]
    prior: "dict[str, Tensor]"

    def manifest(self, engine: str, architecture: dict[str, Any] | None = None) -> VaeManifest:
        """The manifest for an engine. Raises InvalidBundle with a pointer to what is wrong."""
        from workers.models.bundle import parse_manifest

        more = {} if architecture is None else {"architecture": architecture}
        try:
            text = json.dumps({**self.fields, "engine": engine, **more}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidBundle(f"What was given is not JSON: {error}.") from error
        return parse_manifest(text.encode())


def check_choice(name: str, given: str, choices: tuple[str, ...]) -> None:
    """Raises InvalidBundle unless the argument `name` is one of the choices."""
    if given not in choices:
        known = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise InvalidBundle(f"{name} must be {known}, not {given!r}.", pointer=f"/{name}")


def declaration(
    *,
    name: str,
    description: str,
    rows: dict[str, Any],
    latent_shape: list[int] | tuple[int, ...] | int,
    encoder: dict[str, str] | None,
    likelihood: dict[str, Any] | None,
    prior: dict[str, Any] | None,
    labels: dict[str, Any] | list[str] | None,
) -> Declaration:
    """The arguments of an export, checked as far as no module is needed for it. Raises InvalidBundle."""
    from workers.models.prior import check_prior

    fields = {
        "name": name,
        "description": description,
        "latent": {"shape": [latent_shape] if isinstance(latent_shape, int) else list(latent_shape)},
        "rows": rows,
        "encoder": encoder,
        "prior": {"kind": (prior or {}).get("kind", "standard_normal")},
        "likelihood": likelihood or {"kind": "point"},
        "labels": {"classes": labels} if isinstance(labels, list | tuple) else labels,
    }
    declared = Declaration(fields, _prior_tensors(prior or {}))
    manifest = declared.manifest("onnx")
    check_prior(manifest, declared.prior or None)
    return declared


def _prior_tensors(prior: dict[str, Any]) -> "dict[str, Tensor]":
    import torch

    parameters = {key: value for key, value in prior.items() if key != "kind"}
    try:
        return {
            name: torch.as_tensor(value).detach().to("cpu", torch.float64).contiguous()
            for name, value in parameters.items()
        }
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidBundle(f"The prior's parameters must be numbers: {error}.", pointer="/prior") from error
