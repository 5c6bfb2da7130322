"""An AutoencoderKL's halves as a bundle has them: x -> (mean, log variance), z -> x."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle

ARCHITECTURE = "autoencoder_kl"


class Posterior(nn.Module):
    """x -> (mean, log variance), each (N, C, h, w), within the bounds of diffusers' DiagonalGaussianDistribution."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.encoder: nn.Module = vae.encoder
        self.quant_conv: nn.Module | None = vae.quant_conv

    def forward(self, x: Tensor) -> Any:
        moments = self.encoder(x)
        mean, log_variance = (moments if self.quant_conv is None else self.quant_conv(moments)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)


class Images(nn.Module):
    """z, not scaled by scaling_factor, -> x."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.decoder: nn.Module = vae.decoder
        self.post_quant_conv: nn.Module | None = vae.post_quant_conv

    def forward(self, z: Tensor) -> Any:
        return self.decoder(z if self.post_quant_conv is None else self.post_quant_conv(z))


def loaded_by_diffusers(folder: Path, variant: str | None) -> Any:
    """The AutoencoderKL as diffusers itself loads it, in float32. Raises InvalidBundle with its reason."""
    from diffusers import AutoencoderKL

    untyped: Any = AutoencoderKL
    try:
        vae = untyped.from_pretrained(
            folder,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # which needs accelerate
        )
    except Exception as error:  # whatever a library of that size raises for a configuration that it cannot build
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidBundle(f"diffusers cannot load {folder}: {first}") from error
    return vae.eval()


def part_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in float32, behind the half of the bundle that uses them."""
    halves = {"encoder": "encoder", "quant_conv": "encoder", "decoder": "decoder", "post_quant_conv": "decoder"}
    unknown = sorted(name for name in weights if name.partition(".")[0] not in halves)
    if unknown:
        raise InvalidBundle(f"The weights hold {unknown[0]!r}, which no AutoencoderKL has.")
    return {f"{halves[name.partition('.')[0]]}.{name}": value.float() for name, value in weights.items()}


def called(network: nn.Module) -> Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]:
    """The network as a function of a batch; there are no labels."""

    def outputs(given: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        with torch.no_grad():
            output = network(given)
        return output if isinstance(output, tuple) else (output,)

    return outputs
