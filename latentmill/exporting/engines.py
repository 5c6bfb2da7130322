"""An export from the modules to the written bundle: prepare the parts, choose the engine, compare, write."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle, NotInstalled
from latentmill.export import ExportedBundle
from latentmill.exporting.declaration import Declaration
from latentmill.exporting.examples import Examples, bounded_rows, example_latents, given_examples
from latentmill.exporting.installed import missing_for_onnx
from latentmill.exporting.modules import evaluating, run
from latentmill.exporting.networks import network_of
from latentmill.exporting.outputs import Key
from latentmill.exporting.parts import Part, check_function, decoder_part, encoder_part
from latentmill.exporting.probabilities import last_layer
from latentmill.exporting.refusal import first_sentence
from latentmill.exporting.round_trip import TOLERANCE, Original, Originals, compare
from latentmill.exporting.rounding import in_float64
from latentmill.exporting.unwrapping import folded, unwrapped
from latentmill.exporting.writing import graph_members, weights_member, write_bundle
from latentmill.specs import VaeManifest
from workers.models import Vae, load_vae, open_bundle
from workers.models.heads import posterior_of
from workers.models.labels import conditions

JUDGED_ROWS = 256


@dataclass(frozen=True)
class Export:
    """One call of an exporter: where to, what was declared, and what was said of outputs, logits and examples."""

    path: Path
    declared: Declaration
    outputs: dict[str, Key]
    returns: str
    examples: Any

    def of_modules(
        self, encoder: nn.Module | None, decoder: nn.Module, engine: str, architecture: dict[str, Any] | None = None
    ) -> ExportedBundle:
        """The bundle of two modules, written and compared. Raises InvalidBundle or NotInstalled.

        With an `architecture` their weights have its names, and it is written in place of what they are made of.
        """
        with evaluating(encoder, decoder) as modes:
            manifest = self.declared.manifest("onnx")
            examples = None if self.examples is None else given_examples(manifest, self.examples)
            parts = self._parts(encoder, decoder, manifest, examples)
            if architecture is None:
                manifest, difference, engine_note = self._written(parts, engine)
            else:
                manifest, difference, engine_note = self._as_architecture(parts, architecture)
        notes = [*modes, *self.head_notes(examples), *(note for part in parts for note in part.notes), engine_note]
        return self.finished(manifest, difference, notes)

    def finished(self, manifest: VaeManifest, difference: float, notes: list[str]) -> ExportedBundle:
        """What is told of the written bundle."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        if difference > TOLERANCE:
            notes.insert(
                -1,
                f"Bundle and modules differ by {difference:.1e} of the largest value, which is what float32 costs the "
                "modules by themselves: in float64 they give other values by as much.",
            )
        return ExportedBundle(self.path, digest, manifest, difference, tuple(notes))

    def head_notes(self, examples: Examples | None) -> list[str]:
        """What decoding says of the declared heads, on the example rows; nothing without them."""
        from workers.diagnostics.heads import head_warnings

        if examples is None:
            return []
        labels = None if examples.labels is None else examples.labels.numpy()
        return head_warnings(load_vae(open_bundle(self.path), inspected=True), examples.rows.numpy(), labels)

    def write(
        self, manifest: VaeManifest, content: dict[str, bytes], originals: Originals, *more: Callable[[Vae], None]
    ) -> float:
        """Write the bundle if it does what the originals do, and passes `more` checks; the largest difference."""
        differences: list[float] = []

        def check(unfinished: Path) -> None:
            vae = load_vae(open_bundle(unfinished))
            differences.append(compare(vae, originals))
            for another in more:
                another(vae)

        write_bundle(self.path, manifest, content, self.declared.prior, check)
        return differences[0]

    def _parts(
        self, encoder: nn.Module | None, decoder: nn.Module, manifest: VaeManifest, examples: Examples | None
    ) -> list[Part]:
        """Encoder (if there is one) and decoder, fitted to the manifest, the decoder with its logits seen to."""
        parts = []
        if encoder is not None:
            parts.append(encoder_part(folded(unwrapped(encoder)), manifest, self.outputs))
        last = decoder_part(folded(unwrapped(decoder)), manifest, self.outputs)
        reconstructed = examples if encoder is not None else None
        originals = originals_of([*parts, last], manifest)
        judged = judged_rows(originals, manifest, reconstructed, self.declared.prior.get("means"))
        wanted = None if reconstructed is None else reconstructed.rows[: bounded_rows(manifest, JUDGED_ROWS)]
        return [*parts, last.ending_with(*last_layer(judged, manifest, self.returns, wanted))]

    def _written(self, parts: list[Part], engine: str) -> tuple[VaeManifest, float, str]:
        """The manifest, the largest difference, and a note on the engine."""
        if engine == "onnx":
            return *self._as_graphs(parts, None), "Engine onnx, as it was asked for."
        try:
            manifest, difference, steps = self._as_steps(parts)
            return manifest, difference, f"Engine torch: {steps} steps."
        except InvalidBundle as error:
            if engine == "torch":
                raise
            refused = error
        manifest, difference = self._as_graphs(parts, refused)
        return manifest, difference, f"Engine onnx. {first_sentence(refused)}"

    def _as_architecture(self, parts: list[Part], architecture: dict[str, Any]) -> tuple[VaeManifest, float, str]:
        """The bundle for a named architecture, and a note on it."""
        manifest = self.declared.manifest("torch", architecture)
        for part in parts:
            check_function(part, manifest)
        weights = {f"{part.name}.{name}": weight for part in parts for name, weight in weights_of(part).items()}
        difference = self.write(manifest, weights_member(weights), originals_of(parts, manifest))
        return manifest, difference, f"Engine torch: the architecture {architecture.get('name')}."

    def _as_steps(self, parts: list[Part]) -> tuple[VaeManifest, float, int]:
        """The bundle for the engine torch; the last number is that of its steps."""
        networks = {part.name: network_of(part) for part in parts}
        manifest = self.declared.manifest("onnx")
        for part in parts:
            check_function(part, manifest)
        steps = {name: network.steps for name, network in networks.items()}
        manifest = self.declared.manifest("torch", {"name": "sequential", **steps})
        weights = {name: tensor for network in networks.values() for name, tensor in network.weights.items()}
        difference = self.write(manifest, weights_member(weights), originals_of(parts, manifest))
        return manifest, difference, sum(len(network["steps"]) for network in steps.values())

    def _as_graphs(self, parts: list[Part], refused: InvalidBundle | None) -> tuple[VaeManifest, float]:
        """The bundle for the engine onnx, after the engine torch `refused`."""
        manifest = self.declared.manifest("onnx")
        for part in parts:
            check_function(part, manifest, refused)
        before = "" if refused is None else f" Nor with the engine torch: {first_sentence(refused)}"
        if missing := missing_for_onnx():
            raise NotInstalled(f"{missing}.{before}")
        from latentmill.exporting.onnx.conversion import graph_of

        try:
            graphs = {part.name: graph_of(part) for part in parts}
            return manifest, self.write(manifest, graph_members(graphs), originals_of(parts, manifest))
        except InvalidBundle as error:
            if refused is None:
                raise
            raise InvalidBundle(f"{error.detail}{before}", errors=error.errors) from (error.__cause__ or error)


def weights_of(part: Part) -> dict[str, Tensor]:
    """The weights of the module that was given, under its own names."""
    state = part.module.module.state_dict()
    return {
        name: weight.detach().to("cpu", torch.float32).clone()
        for name, weight in state.items()
        if weight.is_floating_point()  # not how many batches a batch norm has seen
    }


def originals_of(parts: list[Part], manifest: VaeManifest) -> Originals:
    """The modules, to compare the bundle with."""

    def calling(part: Part) -> Original:
        def run_part(given: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
            return run(part.module, given, None if labels is None else conditions(labels, manifest), part.name)

        return run_part

    named: dict[str, Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]] = {p.name: calling(p) for p in parts}
    by_name = {part.name: part for part in parts}

    @cache
    def exact(name: str) -> Original | None:
        return in_float64(by_name[name], manifest)

    return Originals(named.get("encoder"), named["decoder"], "modules", exact=exact)


def judged_rows(
    originals: Originals, manifest: VaeManifest, examples: Examples | None, centers: Tensor | None
) -> Tensor:
    """What the decoder returns for draws of the prior, and last for the means of the examples."""
    count = bounded_rows(manifest, JUDGED_ROWS)
    latents = example_latents(manifest, count, seed=4)
    if centers is not None and centers.shape[1:].numel() == manifest.latent.size:
        around = torch.arange(count) % len(centers)
        latents = latents + centers.float()[around].reshape(latents.shape)
    labels = None if manifest.labels is None else torch.arange(len(latents)) % len(manifest.labels.classes)
    decoded = [originals.decoder(latents, labels)[0]]
    if examples is not None and originals.encoder is not None:
        rows = examples.rows[:count]
        y = None if examples.labels is None else examples.labels[:count]
        mean, _ = posterior_of(originals.encoder(rows, y), manifest)
        decoded.append(originals.decoder(mean.reshape(len(rows), *manifest.latent.shape), y)[0])
    return torch.cat(decoded)
