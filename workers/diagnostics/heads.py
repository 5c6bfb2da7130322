"""Does the encoder mean what its bundle declares? Decoding tells; the KL alone cannot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmill.specs.bundle import Encoder
from workers.models import Vae
from workers.randomness import Stream, normals

BATCH_ROWS = 256
NOISE_SEED = 0  # one fixed draw: the same rows under the same model get the same warning
ROUNDING = 1e-5  # how far a variance that came back through a logarithm may lie below zero
SCALES = ("log_variance", "log_std", "variance", "std")

Posteriors = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class HeadErrors:
    """Mean squared errors of decoded rows, per value, in the model's units.

    `mean` [a]: decode(mean); `noisy` [b]: decode(mean + std * noise); `other` [c]: decode(mean of another row);
    `blank` [d]: the mean row, which needs no latents at all.
    """

    mean: float
    noisy: float
    other: float
    blank: float

    @property
    def works(self) -> bool:
        """The mean carries the row, and the noise leaves it."""
        return self.mean < self.blank and self.noisy < self.blank


def head_warnings(vae: Vae, rows: NDArray[np.float32], labels: NDArray[np.int64] | None) -> list[str]:
    """The functional head test on `rows` (n, *shape) as the model takes them: a warning where decoding contradicts.

    a >= d: the layout of the heads is wrong, or the latents are not used. a < d <= b: the noise that the declared head
    asks for destroys what the mean carries; readings for which b < d are named.
    """
    declared = vae.manifest.encoder
    if declared is None or len(rows) == 0 or bool((rows == rows[0]).all()):  # equal rows tell nothing
        return []
    x = torch.from_numpy(rows)
    y = None if labels is None else torch.from_numpy(labels)
    mean, std = _encoded(vae, x, y)
    found = head_errors(vae, x, y, mean, std)
    if found.works:
        return []
    others = [
        f"{name} ({errors.noisy:.3g})"
        for name, reading in _other_readings(declared, mean, std)
        if (errors := head_errors(vae, x, y, *reading)).works
    ]
    return [_warning(declared, found, others)]


def head_errors(vae: Vae, x: Tensor, y: Tensor | None, mean: Tensor, std: Tensor) -> HeadErrors:
    """The four errors for rows x (n, *shape) read as posteriors mean, std (n, D)."""
    noise = normals(NOISE_SEED, Stream.HEAD_TEST, 0, *mean.shape)
    noisy = mean + std * torch.from_numpy(noise.astype(np.float32))
    return HeadErrors(
        mean=_error(vae, x, y, mean),
        noisy=_error(vae, x, y, noisy) if bool(torch.isfinite(noisy).all()) else float("inf"),
        other=_error(vae, x, y, mean.roll(1, dims=0)),
        blank=float((x - x.mean(dim=0)).square().mean(dtype=torch.float64)),
    )


@torch.inference_mode()
def _encoded(vae: Vae, x: Tensor, y: Tensor | None) -> Posteriors:
    parts = [vae.encode(x[rows], None if y is None else y[rows]) for rows in _slices(len(x))]
    return torch.cat([mean.cpu() for mean, _ in parts]), torch.cat([std.cpu() for _, std in parts])


@torch.inference_mode()
def _error(vae: Vae, x: Tensor, y: Tensor | None, latents: Tensor) -> float:
    squares = 0.0
    for rows in _slices(len(x)):
        decoded = vae.decode(latents[rows], None if y is None else y[rows]).cpu()
        squares += float((decoded - x[rows]).square().sum(dtype=torch.float64))
    error = squares / x.numel()
    return error if np.isfinite(error) else float("inf")


def _slices(rows: int) -> Iterator[slice]:
    for first in range(0, rows, BATCH_ROWS):
        yield slice(first, first + BATCH_ROWS)


def _other_readings(declared: Encoder, mean: Tensor, std: Tensor) -> Iterator[tuple[str, Posteriors]]:
    """What the same outputs mean under every other declaration, with its name.

    The raw second head comes back from the std: exactly for the log scales. As `std` or `variance` it has lost its
    sign; a log read as one is negative wherever a latent carries something, so that sign is taken.
    """
    if declared.scale == "none":
        return
    raw = _raw(declared, std)
    for head, (center, scale) in _layouts(declared, mean, raw):
        for kind in SCALES:
            if (head, kind) != (declared.head, declared.scale):
                signed = -scale.abs() if declared.scale in ("std", "variance") and kind.startswith("log") else scale
                name = f"scale {kind!r}" if head == declared.head else f"head {head!r} with scale {kind!r}"
                yield name, (center, _STD_OF[kind](signed))


def _layouts(declared: Encoder, mean: Tensor, raw: Tensor) -> Iterator[tuple[str, Posteriors]]:
    """The outputs split as declared, and the other way where they came as one tensor."""
    n, size = mean.shape
    yield declared.head, (mean, raw)
    if declared.head == "chunked":
        both = torch.cat([mean, raw], dim=1).reshape(n, size, 2)
        yield "interleaved", (both[..., 0], both[..., 1])
    elif declared.head == "interleaved":
        both = torch.stack([mean, raw], dim=2).reshape(n, 2 * size)
        yield "chunked", (both[:, :size], both[:, size:])


def _raw(declared: Encoder, std: Tensor) -> Tensor:
    match declared.scale:
        case "log_variance":
            return 2.0 * std.log()
        case "log_std":
            return std.log()
        case "variance":
            return std.square()
        case _:
            return std


_STD_OF: dict[str, Callable[[Tensor], Tensor]] = {
    "log_variance": lambda raw: torch.exp(0.5 * raw),
    "log_std": torch.exp,
    "variance": lambda raw: torch.where(raw < -ROUNDING, torch.nan, raw.clamp_min(0.0)).sqrt(),
    "std": torch.abs,
}


def _warning(declared: Encoder, found: HeadErrors, others: list[str]) -> str:
    reading = f"head {declared.head!r} with scale {declared.scale!r}"
    if found.mean < found.blank:
        what = (
            f"The encoder is declared as {reading}, but noise of that size destroys what the mean carries: error "
            f"{found.noisy:.3g} with noise, {found.mean:.3g} without, {found.blank:.3g} for the mean row"
        )
        way_out = "no other reading works either: was the model trained with a sampled latent?"
    else:
        what = (
            f"The encoder is declared as {reading}, but its means decode no better than the mean row does: error "
            f"{found.mean:.3g} against {found.blank:.3g}"
        )
        way_out = (
            "no other reading works either: the latents may not be used (collapse), or these rows may be unlike those "
            "that the model was trained on"
        )
    if others:
        way_out = (
            f"decoding works when they are read as {' or '.join(others)}: "
            "if the model was trained so, declare that in the bundle"
        )
    return f"{what}; {way_out}."
