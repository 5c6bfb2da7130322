"""Encoder and decoder as they were given, seen to fit the manifest, whatever engine the bundle will have."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle
from latentmill.exporting.examples import example_conditions, example_latents, example_rows
from latentmill.exporting.mistakes import whole_vae_hint
from latentmill.exporting.modules import Called, called, device_of, run
from latentmill.exporting.outputs import Key, wanted_outputs
from latentmill.exporting.refusal import first_sentence, refusal
from latentmill.specs import VaeManifest
from workers.models.heads import learns_std, posterior_of

TRACE_ROWS = 3  # a number that few axes have, so that a fixed batch axis is not taken for another
_MORE_ROWS = 8
_TOLERANCE = 1e-4  # between a row in one batch and in another: kernels differ by batch, but not by that much


@dataclass(frozen=True)
class Part:
    """One of the two modules, as a bundle calls it; what it is tried on; and what the user should know."""

    name: str
    module: Called
    given: Tensor
    labels: Tensor | None
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What the module is traced on, where its weights lie."""
        device = device_of(self.module)
        y = {} if self.labels is None else {"y": self.labels.to(device)}
        return {"given": self.given.to(device)} | y

    def ending_with(self, last: nn.Module | None, notes: list[str]) -> "Part":
        """The same with a layer applied to its first output."""
        if last is None and not notes:
            return self
        return replace(self, module=self.module.like(last=last), notes=(*self.notes, *notes))


def encoder_part(module: nn.Module, manifest: VaeManifest, said: Mapping[str, Key]) -> Part:
    """x [, y] -> the heads that the manifest declares. Raises InvalidBundle where the module gives something else."""
    declared = manifest.encoder
    assert declared is not None
    given, labels = example_rows(manifest, TRACE_ROWS, seed=1), example_conditions(manifest, TRACE_ROWS)
    wanted = wanted_outputs("encoder", declared.head, declared.scale, learned_std=False)
    try:
        adapted, outputs = called(module, given, labels, part="encoder", wanted=wanted, said=said, scale=declared.scale)
        posterior_of(outputs, manifest)
    except InvalidBundle as error:
        _raise_with_hint(error, module)
        raise
    notes = ("The encoder takes flat rows; the bundle flattens them first.",) if adapted.flat_input else ()
    return Part("encoder", adapted, given, labels, wanted, notes)


def decoder_part(module: nn.Module, manifest: VaeManifest, said: Mapping[str, Key]) -> Part:
    """z [, y] -> rows, given the shape that rows have where the module returns them flat. Raises InvalidBundle."""
    given, labels = example_latents(manifest, TRACE_ROWS, seed=2), example_conditions(manifest, TRACE_ROWS)
    wanted = wanted_outputs("decoder", "pair", "none", learns_std(manifest))
    try:
        adapted, outputs = called(module, given, labels, part="decoder", wanted=wanted, said=said, scale="none")
    except InvalidBundle as error:
        _raise_with_hint(error, module)
        raise
    shape = manifest.rows.shape
    notes: tuple[str, ...] = ()
    if all(tuple(o.shape) != (TRACE_ROWS, *shape) and o[0].numel() == prod(shape) for o in outputs):
        adapted = adapted.like(row_shape=shape)
        notes = (
            f"The decoder returns rows of shape {list(outputs[0].shape[1:])}; the bundle gives them {list(shape)}.",
        )
        outputs = run(adapted, given, labels, "decoder")
    check_rows(outputs, manifest)
    return Part("decoder", adapted, given, labels, wanted, notes)


def check_function(part: Part, manifest: VaeManifest, reason: InvalidBundle | None = None) -> None:
    """What the part gives for a row depends on that row alone. Raises InvalidBundle for draws, and for mixed rows.

    `reason` is the refusal of the engine torch, which may know the line.
    """
    example = example_rows if part.name == "encoder" else example_latents
    given, labels = example(manifest, _MORE_ROWS, seed=3), example_conditions(manifest, _MORE_ROWS)
    if labels is not None:  # every class in turn, also for the few rows
        labels = labels.roll(1, 0)
    many, again = (run(part.module, given, labels, part.name) for _ in range(2))
    known = f" Found while it was traced: {first_sentence(reason)}" if reason is not None else ""
    if not all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(many, again, strict=True)):
        raise refusal(
            part.name,
            "it gives different results for the same input",
            way_out="Return mean and scale without drawing from them, for Latentmill draws the latents itself; and "
            f"call dropout with training=self.training.{known}",
        ) from reason
    few = slice(2, 2 + TRACE_ROWS)
    alone = run(part.module, given[few], None if labels is None else labels[few], part.name)
    for whole, rows in zip(many, alone, strict=True):
        if whole.shape[1:] != rows.shape[1:] or not _alike(whole[few], rows):
            raise refusal(
                part.name,
                "what it gives for a row depends on the other rows of its batch",
                way_out="Batches differ from those of the training: keep the first axis out of means, norms, softmax "
                f"and reshapes, and train batch norms with track_running_stats=True.{known}",
            ) from reason


def _alike(one: Tensor, other: Tensor) -> bool:
    scale = max(1.0, float(one.nan_to_num().abs().max()))
    return torch.allclose(one, other, rtol=0.0, atol=_TOLERANCE * scale, equal_nan=True)


def check_rows(outputs: tuple[Tensor, ...], manifest: VaeManifest) -> None:
    """Raises InvalidBundle unless what was decoded, (n, ...), has the shape of the rows (and perhaps categories)."""
    found, shape = tuple(outputs[0].shape[1:]), manifest.rows.shape
    categories = manifest.likelihood.kind == "categorical" and found[:-1] == shape
    if found == shape or categories:
        return
    moved = manifest.likelihood.kind == "categorical" and len(found) == len(shape) + 1
    raise refusal(
        "decoder",
        f"it gives rows of shape {list(found)}, but rows says {list(shape)}",
        way_out="Move the categories to the last axis (permute) at the end of the decoder."
        if moved
        else "Correct rows, or end the decoder with a reshape.",
    )


def _raise_with_hint(error: InvalidBundle, module: nn.Module) -> None:
    """The same error with a word more, where the module looks like a whole VAE."""
    if hint := whole_vae_hint(module):
        raise InvalidBundle(f"{error.detail}{hint}") from error
