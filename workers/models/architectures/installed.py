"""Architectures that the operator installed: found by entry point, loaded, called, and held to what one must be."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch
from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.specs import VaeManifest
from workers.models.architectures.interface import ENTRY_POINTS
from workers.models.limits import BundleLimits

_NAME = "/architecture/name"
_LONGEST = 200


class Installed:
    """One architecture of a package. It is the operator's code, and as trusted as the worker's own."""

    def __init__(self, point: EntryPoint) -> None:
        self.point = point

    @property
    def package(self) -> str:
        """The name of the package that brought it."""
        return self.point.dist.name if self.point.dist is not None else self.point.module.partition(".")[0]

    def __call__(
        self, numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits, /
    ) -> tuple[nn.Module | None, nn.Module]:
        """The networks. Raises InvalidBundle where the package cannot be loaded, or does not do what it must."""
        function = self._loaded()
        try:
            with torch.device("meta"):
                made = function(numbers, manifest, limits)
        except InvalidBundle:
            raise
        except Exception as error:  # a number that it has not thought of
            raise InvalidBundle(
                f"{self} does not take these numbers ({_said(error)}).", pointer="/architecture"
            ) from error
        return self._checked(made)

    def __str__(self) -> str:
        return f"The architecture {self.point.name!r} of the package {self.package}"

    def _loaded(self) -> Any:
        try:
            function = self.point.load()
        except Exception as error:  # whatever a package raises when it is imported
            raise InvalidBundle(
                f"{self} cannot be loaded here ({_said(error)}): whoever runs the workers must mend or remove it.",
                pointer=_NAME,
            ) from error
        if not callable(function):
            raise InvalidBundle(
                f"{self} is a {type(function).__name__} ({self.point.value}), not a function: whoever runs the workers "
                "must correct its entry point.",
                pointer=_NAME,
            )
        return function

    def _checked(self, made: Any) -> tuple[nn.Module | None, nn.Module]:
        is_pair = isinstance(made, tuple) and len(made) == 2
        if not is_pair or not isinstance(made[0], nn.Module | None) or not isinstance(made[1], nn.Module):
            raise InvalidBundle(
                f"{self} returned a {type(made).__name__} where it must return (encoder or None, decoder), two modules "
                "of torch.",
                pointer=_NAME,
            )
        encoder, decoder = made
        for network in (encoder, decoder) if encoder is not None else (decoder,):
            self._check_weights(network)
        return encoder, decoder

    def _check_weights(self, network: nn.Module) -> None:
        """All values come from the bundle: what a network brings of its own would be left without, or is made early."""
        travelling = set(network.state_dict())
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if not tensor.is_meta:
                raise InvalidBundle(
                    f"{self} made {name!r} on {tensor.device}; weights are made on the device meta, and come from the "
                    "bundle.",
                    pointer=_NAME,
                )
            if name not in travelling and not _is_tied(network, name, tensor, travelling):
                raise InvalidBundle(
                    f"{self} has the buffer {name!r} with persistent=False: it is in no bundle, and would have no "
                    "values.",
                    pointer=_NAME,
                )


def installed(name: str) -> Installed | None:
    """The architecture of that name, None where no package has it. InvalidBundle where two packages do."""
    found = [Installed(point) for point in entry_points(group=ENTRY_POINTS, name=name)]
    if len({each.point.value for each in found}) > 1:
        packages = " and ".join(sorted({each.package for each in found}))
        raise InvalidBundle(
            f"There is more than one architecture {name!r} here, of the packages {packages}: whoever runs the workers "
            "must remove all but one.",
            pointer=_NAME,
        )
    return found[0] if found else None


def installed_names() -> set[str]:
    """The names of all that are installed, whether they can be loaded or not."""
    return set(entry_points(group=ENTRY_POINTS).names)


def _is_tied(network: nn.Module, name: str, tensor: torch.Tensor, travelling: set[str]) -> bool:
    return any(other is tensor for key, other in network.state_dict(keep_vars=True).items() if key in travelling)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST]
