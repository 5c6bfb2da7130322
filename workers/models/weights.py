"""Weights by name: exactly those that the architecture has, in exactly its shapes."""

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle
from workers.models.architectures.registry import Networks

_COUNTER = "num_batches_tracked"  # a counter of training that no evaluation reads


def load_weights(networks: Networks, tensors: dict[str, Tensor]) -> None:
    """Give the networks, made on the meta device, their weights. Raises InvalidBundle naming what does not match."""
    parts = {"encoder": networks.encoder, "decoder": networks.decoder}
    expected = {
        f"{part}.{name}": tuple(weight.shape)
        for part, network in parts.items()
        if network is not None
        for name, weight in network.state_dict().items()
        if not name.endswith(_COUNTER)
    }
    _check_names(expected, tensors)
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise InvalidBundle(
                f"The weight {name!r} has shape {list(tensors[name].shape)}, but the architecture has {list(shape)}.",
                pointer="/architecture",
            )
    for part, network in parts.items():
        if network is not None:
            _assign(network, part, tensors)


def _check_names(expected: dict[str, tuple[int, ...]], tensors: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    complaints = [
        f"{text} {', '.join(repr(name[:96]) for name in names[:5])}{' and more' if len(names) > 5 else ''}"
        for text, names in (("missing:", missing), ("not in the architecture:", unexpected))
        if names
    ]
    if complaints:
        raise InvalidBundle(
            f"The weights do not match the architecture; {'; '.join(complaints)}.", pointer="/architecture"
        )


def _assign(network: nn.Module, part: str, tensors: dict[str, Tensor]) -> None:
    state = {
        name: torch.zeros((), dtype=torch.int64) if name.endswith(_COUNTER) else tensors[f"{part}.{name}"]
        for name in network.state_dict()
    }
    network.load_state_dict(state, strict=True, assign=True)
