"""The architecture `autoencoder_kl`: diffusers' AutoencoderKL from its numbers (Rombach et al. 2022, arXiv:2112.10752).

diffusers is loaded when such a bundle is built, and not before: that takes seconds.
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle
from latentmill.specs import ImageRows, VaeManifest
from workers.models.architectures.ends import checked, refuse_unknown
from workers.models.architectures.sequential.numbers import (
    choice,
    either,
    flag,
    integer,
    integers,
    nothing,
    real,
    several,
)
from workers.models.limits import BundleLimits

NAME = "autoencoder_kl"
_BLOCKS = range(1, 9)
_LOWEST, _HIGHEST = -30.0, 20.0  # of a log variance: diffusers' DiagonalGaussianDistribution
_STATISTICS = (either(nothing, several(real(), range(1, 1025))), None)

CHECKS = {  # diffusers' names and defaults
    "in_channels": (integer(1, 64), 3),
    "out_channels": (integer(1, 64), 3),
    "down_block_types": (several(choice("DownEncoderBlock2D", "AttnDownEncoderBlock2D"), _BLOCKS),
                         ["DownEncoderBlock2D"]),
    "up_block_types": (several(choice("UpDecoderBlock2D", "AttnUpDecoderBlock2D"), _BLOCKS), ["UpDecoderBlock2D"]),
    "block_out_channels": (integers(_BLOCKS, 1, 4_096), [64]),
    "layers_per_block": (integer(1, 16), 1),
    "act_fn": (choice("silu", "swish", "mish", "gelu", "relu"), "silu"),
    "latent_channels": (integer(1, 1_024), 4),
    "norm_num_groups": (integer(1, 4_096), 32),
    "use_quant_conv": (flag, True),
    "use_post_quant_conv": (flag, True),
    "mid_block_add_attention": (flag, True),
    # What follows changes nothing of encode and decode: it is checked, kept in vae.json, and not applied.
    "sample_size": (either(integer(1, 16_384), integers(range(1, 3), 1, 16_384)), 32),
    "scaling_factor": (real(1e-6, 1e6), 0.18215),
    "shift_factor": (either(nothing, real()), None),
    "latents_mean": _STATISTICS,
    "latents_std": _STATISTICS,
    "force_upcast": (flag, True),
}  # fmt: skip


def autoencoder_kl(
    numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits
) -> tuple[nn.Module | None, nn.Module]:
    """{"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, ...}: the keys of diffusers' config.json.

    The latents (latent_channels, h, w) are those of `vae.encode(x).latent_dist` and `vae.decode(z)`: unscaled.
    `scaling_factor` and `shift_factor` belong to a diffusion model that works on them, and are not applied.
    The encoder gives a mean and a log variance, which diffusers clamps to -30 to 20. Weights have diffusers' names
    behind the part that uses them: encoder.encoder.conv_in.weight, encoder.quant_conv.weight,
    decoder.post_quant_conv.weight, decoder.decoder.conv_out.weight.
    """
    refuse_unknown(numbers, NAME, set(CHECKS), manifest)
    given = {name: checked(numbers, name, NAME, CHECKS) for name in CHECKS}
    _check_ends(given, manifest)
    made = _made(given)
    decoder = _Decoder(made.decoder, made.post_quant_conv)
    if manifest.encoder is None:
        return None, decoder
    if manifest.encoder.scale == "none":
        return _Encoder(made.encoder, made.quant_conv, "mean"), decoder
    return _Encoder(made.encoder, made.quant_conv, manifest.encoder.head), decoder


class _Encoder(nn.Module):
    """Images -> mean and log variance (n, latent_channels, h, w), as the manifest's head lays them out."""

    def __init__(self, encoder: nn.Module, quant_conv: nn.Module | None, head: str) -> None:
        super().__init__()
        self.encoder, self.quant_conv, self._head = encoder, quant_conv, head

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        moments = self.encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, log_variance = moments.chunk(2, dim=1)
        log_variance = log_variance.clamp(_LOWEST, _HIGHEST)
        match self._head:
            case "mean":
                return (mean,)
            case "pair":
                return mean, log_variance
        return (torch.cat([mean, log_variance], dim=1),)


class _Decoder(nn.Module):
    """Latents (n, latent_channels, h, w) -> images."""

    def __init__(self, decoder: nn.Module, post_quant_conv: nn.Module | None) -> None:
        super().__init__()
        self.decoder, self.post_quant_conv = decoder, post_quant_conv

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        if self.post_quant_conv is not None:
            latents = self.post_quant_conv(latents)
        return (self.decoder(latents),)


def _made(given: dict[str, Any]) -> Any:
    """diffusers' module, on the meta device."""
    if find_spec("diffusers") is None:
        raise InvalidBundle(
            "The architecture autoencoder_kl is built by diffusers, which is not installed here: "
            "pip install diffusers where the workers run.",
            pointer="/architecture/name",
        )
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    try:
        with torch.device("meta"):
            return AutoencoderKL(**given)
    except (ValueError, TypeError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidBundle(f"AutoencoderKL refuses these numbers: {error}.", pointer="/architecture") from error


def _check_ends(given: dict[str, Any], manifest: VaeManifest) -> None:
    """Rows, latents, heads and labels are those that an AutoencoderKL has."""
    rows, blocks = manifest.rows, given["block_out_channels"]
    if not isinstance(rows, ImageRows) or rows.layout != "CHW":
        raise InvalidBundle(f"{NAME} is for images of layout CHW.", pointer="/rows")
    for name in ("down_block_types", "up_block_types"):
        if len(given[name]) != len(blocks):
            raise InvalidBundle(
                f"{name} of {NAME} must have an entry for each of the {len(blocks)} block_out_channels.",
                pointer=f"/architecture/{name}",
            )
    encoded = manifest.encoder is not None
    for name in ("in_channels", "out_channels") if encoded else ("out_channels",):
        if given[name] != rows.channels:
            raise InvalidBundle(
                f"{name} of {NAME} is {given[name]}, but rows have {rows.channels} channels.",
                pointer=f"/architecture/{name}",
            )
    _check_latents(given, manifest, rows)
    if encoded and not _fits_head(manifest):
        raise InvalidBundle(
            f"The encoder of {NAME} gives a mean and a log variance, one after the other: "
            'take {"scale": "log_variance", "head": "chunked"}, or scale "none" for the mean alone.',
            pointer="/encoder",
        )
    if manifest.labels is not None:
        raise InvalidBundle(f"{NAME} takes no labels.", pointer="/labels")


def _check_latents(given: dict[str, Any], manifest: VaeManifest, rows: ImageRows) -> None:
    factor = 2 ** (len(given["block_out_channels"]) - 1)
    height, width = rows.shape[1:]
    if height % factor or width % factor:
        raise InvalidBundle(
            f"{len(given['block_out_channels'])} blocks of {NAME} need sides that {factor} divides, not {height} x "
            f"{width}: correct rows.shape.",
            pointer="/rows/shape",
        )
    expected = (given["latent_channels"], height // factor, width // factor)
    if manifest.latent.shape != expected:
        raise InvalidBundle(
            f"The latents of {height} x {width} rows have the shape {list(expected)} (latent_channels, height / "
            f"{factor}, width / {factor}), not {list(manifest.latent.shape)}.",
            pointer="/latent/shape",
        )


def _fits_head(manifest: VaeManifest) -> bool:
    declared = manifest.encoder
    return (
        declared is None
        or declared.scale == "none"
        or (declared.scale == "log_variance" and declared.head in ("pair", "chunked"))
    )
