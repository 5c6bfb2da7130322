"""The bundle against the modules that it was made from: the same inputs must give the same outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.exporting.examples import bounded_rows, example_labels, example_latents, example_rows
from workers.models import Vae
from workers.models.heads import posterior_of

TOLERANCE = 1e-5
"""Of the largest value that the original gives, or of 1 where that is smaller: float32 has 6e-8 of a value."""

ROUNDING_AT_MOST = 1e-3
_ABOUT = 4
BATCHES = (2, 64)  # neither is the batch that was traced
_REASONS = (
    "Something in it may depend on the batch, change a value in place, have options that a bundle has not, or compute "
    "in another precision than float32."
)

# (rows, labels) or (latents, labels) of seeded batches -> what the original gives for them, as the bundle's parts do.
Original = Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]
Truth = Callable[[], Tensor | None]


@dataclass(frozen=True)
class Originals:
    """What the bundle is compared with: both parts as functions of a batch and its class indices.

    `exact` gives a part in float64, where that can be had.
    """

    encoder: Original | None
    decoder: Original
    name: str  # "modules", "ONNX files"
    batches: tuple[int, ...] = BATCHES
    exact: Callable[[str], Original | None] = lambda part: None


def compare(vae: Vae, originals: Originals) -> float:
    """The largest difference, as a share of the original's largest value where that is above 1.

    Batches of 2 and 64 seeded rows are compared (of fewer where rows are large), and one row by itself: with what the
    original gives for it alone, since kernels for one row may differ from those for two by more than TOLERANCE (with
    the first of the two where the original runs on no single row). Raises InvalidBundle above TOLERANCE, saying where
    the largest difference is; but not where float32 costs the original itself as much: see `_is_rounding`.
    """
    differences = []
    for seed, wanted in enumerate(originals.batches, start=10):
        rows = bounded_rows(vae.manifest, wanted)
        labels = example_labels(vae.manifest, rows)
        given, latents = example_rows(vae.manifest, rows, seed), example_latents(vae.manifest, rows, seed)
        for count in (rows, 1):
            try:
                differences += _encoded(vae, originals, given, labels, count)
                differences += _decoded(vae, originals, latents, labels, count)
            except RuntimeError as error:  # as both engines raise it
                first = (str(error).strip() or type(error).__name__).splitlines()[0][:500]
                raise InvalidBundle(f"The bundle would not run on a batch of {count}: {first}") from error
    return max(differences)


def _encoded(vae: Vae, originals: Originals, given: Tensor, labels: Tensor | None, count: int) -> list[float]:
    if originals.encoder is None:
        return []

    def posterior(original: Original) -> tuple[Tensor, ...]:
        return posterior_of(_first(original, given, labels, count), vae.manifest)

    ours = vae.encode(given[:count], None if labels is None else labels[:count])
    named = zip(("mean", "std"), ours, posterior(originals.encoder), strict=True)
    return [
        _difference(f"encoder's {name}", mine, theirs, originals.name, _truth(originals, "encoder", posterior, place))
        for place, (name, mine, theirs) in enumerate(named)
    ]


def _decoded(vae: Vae, originals: Originals, latents: Tensor, labels: Tensor | None, count: int) -> list[float]:
    def decoded(original: Original) -> tuple[Tensor, ...]:
        first, *std = _first(original, latents, labels, count)
        return first, *(value.abs() for value in std[:1])

    ours = vae.decode_with_std(latents[:count].flatten(1), None if labels is None else labels[:count])
    return [
        _difference(f"decoder's {name}", mine, theirs, originals.name, _truth(originals, "decoder", decoded, place))
        for place, (name, mine, theirs) in enumerate(
            zip(("output", "std"), ours, decoded(originals.decoder), strict=False)
        )
        if mine is not None
    ]


def _first(original: Original, given: Tensor, labels: Tensor | None, count: int) -> tuple[Tensor, ...]:
    """What the original gives for the first `count` rows."""
    try:
        return original(given[:count], None if labels is None else labels[:count])
    except InvalidBundle:
        if count != 1:
            raise
        return tuple(value[:1] for value in original(given, labels))  # one that squeezes, say: h.squeeze()


def _truth(originals: Originals, part: str, outputs: Callable[[Original], tuple[Tensor, ...]], place: int) -> Truth:
    def truth() -> Tensor | None:
        exact = originals.exact(part)
        try:
            return None if exact is None else outputs(exact)[place]
        except Exception:  # a stranger's forward method may insist on float32
            return None

    return truth


def _difference(what: str, ours: Tensor, theirs: Tensor, original: str, truth: Truth) -> float:
    known = torch.isfinite(theirs)  # a variance head may be negative on made-up rows: then both are NaN
    if ours.shape != theirs.shape:
        raise InvalidBundle(
            f"The {what} of the bundle has the shape {list(ours.shape)}, that of the {original} {list(theirs.shape)}."
        )
    if not torch.equal(known, torch.isfinite(ours)):
        raise InvalidBundle(f"The {what} of the bundle is NaN or infinite in other places than that of the {original}.")
    if not bool(known.any()):
        return 0.0
    distance = torch.where(known, (ours - theirs).abs(), 0.0)
    scale = max(1.0, float(theirs[known].abs().max()))
    difference = float(distance.max()) / scale
    if difference > TOLERANCE and not _is_rounding(ours[known], theirs[known], difference, truth(), known):
        place = tuple(int(index) for index in np.unravel_index(int(distance.argmax()), tuple(distance.shape)))
        raise InvalidBundle(
            f"The bundle would not do what the {original} do: the {what} differs by {difference:.2g} of its largest "
            f"value ({scale:.3g}), more than {TOLERANCE:g}. The largest difference is at {list(place)} (row first): "
            f"{float(ours[place]):.6g} in the bundle, {float(theirs[place]):.6g} in the {original}. {_REASONS}"
        )
    return difference


def _is_rounding(ours: Tensor, theirs: Tensor, difference: float, truth: Tensor | None, known: Tensor) -> bool:
    """Whether the bundle is about as near to the original's values in float64 as the original in float32 is.

    A deep network adds up thousands of roundings, in another order in each library and for each size of batch, and no
    bundle can be nearer to it than it is to itself. "About": four times as far at most, for these are the largest of a
    few errors. Beyond ROUNDING_AT_MOST no difference is put down to rounding.
    """
    if truth is None or truth.shape != known.shape or difference > ROUNDING_AT_MOST:
        return False
    exact = truth[known]
    own, bundle = (float((values.double() - exact).abs().max()) for values in (theirs, ours))
    return bundle <= _ABOUT * own
