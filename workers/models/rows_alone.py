"""Each row is made from its own latents and from nothing else, and the same batch gives the same bytes.

That is what a job promises: row i depends on (seed, i). A mean over the batch, an axis that is fixed at the export's
batch, or a number drawn at random all break it, and no shape tells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.specs import ImageRows
from workers.devices import is_out_of_memory
from workers.models.vae import Vae

ROWS = 8
_SMALLER_BATCHES = (1, 3)
_TOLERANCE = 1e-4  # relative to the largest value: kernels differ with the batch's size, by some 1e-6
_LEAST_SCALE = 1e-3
_WAY_OUT = (
    "Look for moments over the batch (in evaluation mode stored ones are taken), a fixed batch in a Reshape or an "
    "Expand, and sums over axis 0."
)

Run = Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]


def example_latents(vae: Vae, seed: int) -> Tensor:
    """Latents (8, D) drawn from N(0, I)."""
    return torch.randn(ROWS, vae.manifest.latent.size, generator=torch.Generator().manual_seed(seed))


def example_rows(vae: Vae, seed: int) -> Tensor:
    """Rows (8, *shape) of noise, within the declared range where there is one."""
    declared, generator = vae.manifest.rows, torch.Generator().manual_seed(seed)
    if isinstance(declared, ImageRows):
        low, high = declared.range
        return low + (high - low) * torch.rand(ROWS, *declared.shape, generator=generator)
    return torch.randn(ROWS, *declared.shape, generator=generator)


def example_labels(vae: Vae) -> Tensor | None:
    """Classes (8,) from the first to the last, so that an embedding of too few is found."""
    labels = vae.manifest.labels
    return None if labels is None else torch.arange(ROWS) * (len(labels.classes) - 1) // (ROWS - 1)


@dataclass(frozen=True)
class Tried:
    """What 8 latents drawn from N(0, I) are decoded to, x [, std], and what 8 random rows are encoded to, mean, std."""

    decoded: tuple[Tensor, ...]
    encoded: tuple[Tensor, ...] | None


def check_rows_alone(vae: Vae) -> None:
    """Raises InvalidBundle where a row changes with its batch, or the same batch gives other bytes the second time."""
    try_rows(vae)


def try_rows(vae: Vae) -> Tried:
    """As `check_rows_alone`, and what came out: a large model takes seconds for a row, and here are 24 of each part."""

    def decode(latents: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        mean, std = vae.decode_with_std(latents, labels)
        return (mean,) if std is None else (mean, std)

    labels = example_labels(vae)
    decoded = _try("decoder", decode, example_latents(vae, 0), example_latents(vae, 1), labels)
    if vae.manifest.encoder is None:
        return Tried(decoded, None)
    return Tried(decoded, _try("encoder", vae.encode, example_rows(vae, 0), example_rows(vae, 1), labels))


def _try(part: str, run: Run, given: Tensor, others: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    made = _run(part, run, given, labels)
    for rows in _SMALLER_BATCHES:
        smaller = [_run(part, run, given[:rows], None if labels is None else labels[:rows]) for _ in range(2)]
        if any(not _same_bytes(*pair) for pair in zip(*smaller, strict=True)):
            raise InvalidBundle(
                f"The {part} gives other values for the same batch the second time: nothing in it may be random. Call "
                "module.eval() before the export, and leave drawing to the service."
            )
        _compare(part, [each[:rows] for each in made], smaller[0], f"a batch of {rows} instead of {ROWS}")
    # Four rows, two of which have another place, before and behind rows that they have not been with.
    moved = None if labels is None else torch.cat([labels[2:4], labels[:2]])
    ahead = _run(part, run, torch.cat([given[2:4], others[:2]]), moved)
    _compare(part, [each[2:4] for each in made], [each[:2] for each in ahead], "other rows behind it")
    behind = _run(part, run, torch.cat([others[2:4], given[:2]]), moved)
    _compare(part, [each[:2] for each in made], [each[2:] for each in behind], "other rows before it")
    return made


def _run(part: str, run: Run, given: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    try:
        return run(given, labels)
    except (RuntimeError, ValueError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        why = str(error).strip().splitlines()
        raise InvalidBundle(
            f"The {part} does not run on {len(given)} rows: {why[0][:300] if why else type(error).__name__}. {_WAY_OUT}"
        ) from error


def _same_bytes(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and ours.cpu().numpy().tobytes() == theirs.cpu().numpy().tobytes()


def _compare(part: str, made: Sequence[Tensor], again: Sequence[Tensor], with_what: str) -> None:
    for ours, theirs in zip(made, again, strict=True):
        finite = torch.isfinite(ours)
        difference, scale = float("inf"), 1.0
        if torch.equal(finite, torch.isfinite(theirs)):
            difference = float((ours - theirs)[finite].abs().max()) if bool(finite.any()) else 0.0
            scale = max(_LEAST_SCALE, float(ours[finite].abs().max())) if bool(finite.any()) else 1.0
        if difference > _TOLERANCE * scale:
            raise InvalidBundle(
                f"The {part} gives a row other values with {with_what}: they differ by {difference:.3g}, where "
                f"the largest is {scale:.3g}. A row must depend on its own input alone. {_WAY_OUT}"
            )
