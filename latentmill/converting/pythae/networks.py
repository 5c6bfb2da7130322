"""pythae's networks as the exporter takes them: its default ones rebuilt, anyone's with tensors instead of outputs."""

from math import prod
from typing import Any

from torch import Tensor, nn

from latentmill.errors import InvalidBundle

Weights = dict[str, Tensor]

_WIDTH = 512


class DefaultEncoder(nn.Module):
    """Encoder_VAE_MLP of pythae; without the second head its Encoder_AE_MLP."""

    def __init__(self, row_size: int, latent_size: int, *, scale: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(row_size, _WIDTH), nn.ReLU())])
        self.embedding = nn.Linear(_WIDTH, latent_size)
        self.log_var = nn.Linear(_WIDTH, latent_size) if scale else None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.layers[0](x.reshape(x.shape[0], -1))
        output = {"embedding": self.embedding(hidden)}
        return output if self.log_var is None else {**output, "log_covariance": self.log_var(hidden)}


class DefaultDecoder(nn.Module):
    """Decoder_AE_MLP of pythae."""

    def __init__(self, latent_size: int, row_shape: tuple[int, ...]) -> None:
        super().__init__()
        last = nn.Sequential(nn.Linear(_WIDTH, prod(row_shape)), nn.Sigmoid())
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(latent_size, _WIDTH), nn.ReLU()), last])
        self.row_shape = row_shape

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        hidden = self.layers[1](self.layers[0](z))
        return {"reconstruction": hidden.reshape(z.shape[0], *self.row_shape)}


class Posterior(nn.Module):
    """x -> (embedding, log_covariance), or the embedding alone, of a network that returns pythae's ModelOutput."""

    def __init__(self, encoder: nn.Module, row_shape: tuple[int, ...], *, scale: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.row_shape = row_shape
        self.heads = ("embedding", "log_covariance") if scale else ("embedding",)

    def forward(self, x: Tensor) -> Any:
        output = self.encoder(x.reshape(x.shape[0], *self.row_shape))
        heads = tuple(_named(output, name) for name in self.heads)
        return heads if len(heads) > 1 else heads[0]


class Reconstruction(nn.Module):
    """z -> reconstruction of a network that returns pythae's ModelOutput; before it the flow of the latents, if any."""

    def __init__(self, decoder: nn.Module, flow: nn.Module | None = None) -> None:
        super().__init__()
        self.decoder = decoder
        self.flow = flow

    def forward(self, z: Tensor) -> Any:
        return _named(self.decoder(z if self.flow is None else self.flow(z)), "reconstruction")


def filled(network: nn.Module, weights: Weights, part: str) -> nn.Module:
    """`network` with the weights of `part` in a model's state. Raises InvalidBundle when they are not its own."""
    own = {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
    try:
        network.load_state_dict(own)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]] or [str(error)]
        raise InvalidBundle(
            f"The weights of the {part} in model.pt are not those of {type(network).__name__}: {' '.join(lines)} "
            f"Give the network that was trained, {part}=..., or load the model with pythae and give the model."
        ) from error
    return network


def _named(output: Any, name: str) -> Any:
    if not isinstance(output, dict) or name not in output:
        given = f"only {', '.join(output)}" if isinstance(output, dict) else type(output).__name__
        raise ValueError(f"it returns {given}, and pythae reads {name!r} of its ModelOutput")
    return output[name]
