"""The flows that pythae puts behind an encoder's gaussian, z = flow(z0), from their weights."""

from typing import Any

import torch
from torch import Tensor, nn

from latentmill.converting.pythae.networks import Weights
from latentmill.errors import InvalidBundle


class Planar(nn.Module):
    """z + u tanh(z w + b); w and u (1, D), b (1,)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.inner = _linear(weights["w"], weights["b"])
        self.outer = _linear(weights["u"].T, None)

    def forward(self, z: Tensor) -> Tensor:
        shifted: Tensor = z + self.outer(torch.tanh(self.inner(z)))
        return shifted


class Radial(nn.Module):
    """z + beta (z - x0) / (alpha + |z - x0|), with alpha = exp(log_alpha), beta = -alpha + log(1 + exp(b))."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        alpha = weights["log_alpha"].exp()
        self.centre = nn.Parameter(weights["x0"], requires_grad=False)
        self.alpha = float(alpha)
        self.beta = float(-alpha + torch.log(1 + weights["beta"].exp()))

    def forward(self, z: Tensor) -> Tensor:
        away = z - self.centre
        radius = torch.sqrt((away * away).sum(dim=1, keepdim=True))
        return z + away * self.beta / (radius + self.alpha)


class Autoregressive(nn.Module):
    """The blocks of an IAF, last first: z reversed, then z exp(s) + m with (m, s) of a masked network."""

    def __init__(self, blocks: list[nn.Sequential]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, z: Tensor) -> Tensor:
        for block in self.blocks:
            z = torch.cat([z[:, place : place + 1] for place in range(z.shape[1] - 1, -1, -1)], dim=1)
            shift, log_scale = block(z).chunk(2, dim=1)
            z = z * torch.exp(log_scale) + shift
        return z


def flow_of(name: str, config: dict[str, Any], weights: Weights) -> nn.Module:
    """The flow of a VAE_LinNF or a VAE_IAF. Raises InvalidBundle when its weights are not there."""
    try:
        if name == "VAE_LinNF":
            kinds = {"Planar": Planar, "Radial": Radial}
            return nn.Sequential(
                *(kinds[kind](_under(weights, f"net.{place}.")) for place, kind in enumerate(config["flows"]))
            )
        count = int(config["n_made_blocks"])
        return Autoregressive([_masked(_under(weights, f"iaf_flow.net.{place}.net.")) for place in range(count)][::-1])
    except KeyError as error:
        raise InvalidBundle(f"The flow of this {name} misses {error}: is the folder of another version?") from error


def _masked(weights: Weights) -> nn.Sequential:
    """Masked linear layers with ReLU between them, the masks multiplied in."""
    places = sorted({int(name.partition(".")[0]) for name in weights})
    if not places:
        raise KeyError("a masked network")
    layers: list[nn.Module] = []
    for place in places:
        weight = weights[f"{place}.mask"] * weights[f"{place}.weight"]
        layers += [_linear(weight, weights[f"{place}.bias"]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


def _under(weights: Weights, prefix: str) -> Weights:
    return {
        name.removeprefix(prefix): value.detach().cpu() for name, value in weights.items() if name.startswith(prefix)
    }
