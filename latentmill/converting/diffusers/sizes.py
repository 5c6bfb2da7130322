"""How large a row and its latents are: the network is convolutional, a bundle has one size."""

from typing import Any

from latentmill.errors import InvalidBundle

_CHANNELS_AT_MOST = 4


def row_shape(config: dict[str, Any], image_size: int | tuple[int, int] | None) -> list[int]:
    """(channels, height, width) of an image. Raises InvalidBundle when the network cannot give such rows back."""
    channels = config.get("in_channels", 3)
    if channels != config.get("out_channels", 3):
        raise InvalidBundle(
            f"It takes {channels} channels and gives {config.get('out_channels', 3)}: what is decoded must be a row."
        )
    if channels > _CHANNELS_AT_MOST:
        raise InvalidBundle(f"It takes {channels} channels; rows are images of 1 to {_CHANNELS_AT_MOST}.")
    height, width = _pair(config.get("sample_size", 32) if image_size is None else image_size)
    step = downsampling(config)
    if height % step or width % step or not height or not width:
        raise InvalidBundle(
            f"Images of {height} x {width} do not go through: height and width must be multiples of {step}. Give "
            "another image_size (--image-size).",
            pointer="/rows/shape",
        )
    return [channels, height, width]


def latent_shape(config: dict[str, Any], shape: list[int]) -> list[int]:
    """(latent_channels, height, width) of the latents of a row."""
    step = downsampling(config)
    return [config.get("latent_channels", 4), shape[1] // step, shape[2] // step]


def downsampling(config: dict[str, Any]) -> int:
    """By how much the latents are smaller: every block but the last halves."""
    return int(2 ** (len(config.get("block_out_channels", (64,))) - 1))


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, list | tuple) and len(size) == 2 else (size, size)
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise InvalidBundle(f"image_size must be one or two whole numbers above 0, not {size!r}.")
    return height, width
