"""`untrained_vae`: the networks of a named architecture as torch modules, to be trained and exported under its name."""

from typing import TYPE_CHECKING, Any

from latentmill.errors import InvalidBundle
from latentmill.exporting.installed import check_installed

if TYPE_CHECKING:
    from torch import nn


def untrained_vae(
    architecture: dict[str, Any],
    *,
    rows: dict[str, Any],
    latent_shape: list[int] | tuple[int, ...] | int,
    scale: str = "log_variance",
    head: str = "pair",
    likelihood: dict[str, Any] | None = None,
    labels: dict[str, Any] | list[str] | None = None,
) -> "tuple[nn.Module, nn.Module]":
    """Encoder and decoder of `architecture`, {"name": "residual", "channels": [32, 64], ...}, initialised by torch.

    The other arguments are those of `export_vae`, which takes the trained modules with the same architecture. Both
    modules return tuples, batch axis first: encoder(x[, y]) -> (mean, scale), one tensor with a head that joins them,
    or the mean alone with scale "none"; decoder(z[, y]) -> (x,). They are in training mode; torch's global generator
    draws the weights. Raises InvalidBundle with a pointer to the number that is wrong.
    """
    check_installed("untrained_vae")
    from latentmill.exporting.declaration import declaration
    from workers.models import DEFAULT_LIMITS
    from workers.models.architectures.registry import build
    from workers.models.shapes import check_shapes

    declared = declaration(
        name="untrained",
        description="",
        rows=rows,
        latent_shape=latent_shape,
        encoder={"scale": scale, "head": head},
        likelihood=likelihood,
        prior=None,
        labels=labels,
    )
    manifest = declared.manifest("torch", architecture)
    networks = build(manifest, DEFAULT_LIMITS)
    check_shapes(networks, manifest, DEFAULT_LIMITS)
    assert networks.encoder is not None
    return _initialised(networks.encoder), _initialised(networks.decoder)


def _initialised(network: "nn.Module") -> "nn.Module":
    """The network on the CPU, each layer initialised as torch does it when it is made."""
    network = network.to_empty(device="cpu")
    for path, part in network.named_modules():
        if not [*part.parameters(recurse=False), *part.buffers(recurse=False)]:
            continue
        reset = getattr(part, "reset_parameters", None)
        if reset is None:
            raise InvalidBundle(
                f"{path!r}, a {type(part).__name__}, has weights but no reset_parameters() to initialise them: its "
                "architecture can be decoded, but not trained from here.",
                pointer="/architecture/name",
            )
        reset()
    return network.train()
