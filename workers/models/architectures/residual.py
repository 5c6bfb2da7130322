"""The architecture `residual`: convolutions in residual blocks, down to flat or spatial latents, and back up.

A block is norm, activation, convolution, norm, activation, convolution, and the sum with what it was given: the full
pre-activation of He et al. 2016 (arXiv:1603.05027).
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from latentmill.errors import InvalidBundle
from latentmill.specs import ImageRows, VaeManifest
from workers.models.architectures.ends import (
    Steps,
    checked,
    heads,
    join_labels,
    label_planes,
    label_width,
    linear,
    refuse_unknown,
)
from workers.models.architectures.mlp import ACTIVATIONS, OUTPUTS
from workers.models.architectures.sequential.architecture import sequential
from workers.models.architectures.sequential.numbers import choice, integer, integers
from workers.models.limits import BundleLimits

CHECKS = {
    "channels": (integers(range(1, 9), 1, 16_384), None),
    "blocks": (integer(1, 32), 2),
    "norm": (choice("group", "batch", "none"), "group"),
    "groups": (integer(1, 4_096), 8),
    "activation": (choice(*ACTIVATIONS), "silu"),
    "output": (choice(*OUTPUTS), "sigmoid"),
}


def residual(
    numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits
) -> tuple[nn.Module | None, nn.Module]:
    """{"channels": [32, 64, 128], "blocks": 2, "norm": "group", "groups": 8, "activation": "silu"}.

    Each number in `channels` is a level of `blocks` residual blocks; from one to the next the sides halve. A latent
    shape [D] takes linear layers at the bottom, a shape [C, h, w] convolutions; h and w are then those of the last
    level. Labels are joined at the bottom: to the flat values, or as planes. Weights, with <i> the level and <j> the
    block: stem, down<i>, level<i>_block<j>_norm0, _conv0, _norm1, _conv1, norm, mean, scale (or heads) in the encoder;
    spread (flat) or stem (spatial), level<i>_block<j>_..., up<i>, norm, out in the decoder.
    """
    refuse_unknown(numbers, "residual", set(CHECKS), manifest)
    given = {name: checked(numbers, name, "residual", CHECKS) for name in CHECKS}
    parts = _Parts(given, manifest, _image_rows(manifest))
    parts.check()
    networks: dict[str, Any] = {"decoder": parts.decoder()}
    if manifest.encoder is not None:
        networks["encoder"] = parts.encoder()
    return sequential(networks, manifest, limits)


@dataclass(frozen=True)
class _Parts:
    """The numbers, checked, and the networks that they make."""

    given: dict[str, Any]
    manifest: VaeManifest
    rows: ImageRows

    @property
    def channels(self) -> tuple[int, ...]:
        channels: tuple[int, ...] = self.given["channels"]
        return channels

    @property
    def smallest(self) -> tuple[int, int, int]:
        """(channels, height, width) at the last level."""
        factor = 2 ** (len(self.channels) - 1)
        return self.channels[-1], self.rows.shape[1] // factor, self.rows.shape[2] // factor

    @property
    def is_spatial(self) -> bool:
        return len(self.manifest.latent.shape) > 1

    def check(self) -> None:
        """Refuse sides that do not halve, latents of another shape, and groups that do not divide the channels."""
        factor, (height, width) = 2 ** (len(self.channels) - 1), self.rows.shape[1:]
        if height % factor or width % factor:
            raise InvalidBundle(
                f"{len(self.channels)} levels need sides that {factor} divides, not {height} x {width}: take fewer "
                "channels.",
                pointer="/architecture/channels",
            )
        groups = self.given["groups"]
        odd = [channels for channels in self.channels if channels % groups]
        if self.given["norm"] == "group" and odd:
            raise InvalidBundle(
                f"groups of residual must divide every number of channels; {groups} does not divide {odd[0]}.",
                pointer="/architecture/groups",
            )
        shape = self.manifest.latent.shape
        if self.is_spatial and (len(shape) != 3 or shape[1:] != self.smallest[1:]):
            raise InvalidBundle(
                f"Latents of residual are flat, or [C, {self.smallest[1]}, {self.smallest[2]}] as its last level, not "
                f"{list(shape)}.",
                pointer="/latent/shape",
            )

    def encoder(self) -> dict[str, Any]:
        steps: Steps = [_convolution("stem", self.rows.channels, self.channels[0])]
        for level, channels in enumerate(self.channels):
            if level:
                steps.append(_convolution(f"down{level}", self.channels[level - 1], channels, stride=2))
            steps += self._blocks(level, channels, steps[-1]["id"])
        steps += self._normed("norm", self.channels[-1])
        if self.is_spatial:
            ends, outputs = self._spatial_heads()
            return {"steps": [*steps, *label_planes(self.manifest, self.smallest[1:]), *ends], "outputs": outputs}
        steps += [{"id": "features", "layer": "Flatten"}, *join_labels(self.manifest)]
        width = self.smallest[0] * self.smallest[1] * self.smallest[2] + label_width(self.manifest)
        ends, outputs = heads(self.manifest, steps[-1]["id"], width)
        return {"steps": [*steps, *ends], "outputs": outputs}

    def decoder(self) -> Steps:
        widest, labels = self.channels[-1], label_width(self.manifest)
        steps: Steps
        if self.is_spatial:
            steps = [{"id": "given", "layer": "Identity"}, *label_planes(self.manifest, self.smallest[1:])]
            steps.append(_convolution("stem", self.manifest.latent.shape[0] + labels, widest))
        else:
            steps = [{"id": "given", "layer": "Flatten"}, *join_labels(self.manifest)]
            size = widest * self.smallest[1] * self.smallest[2]
            steps += [linear("spread", self.manifest.latent.size + labels, size)]
            steps.append({"id": "smallest", "layer": "Reshape", "shape": list(self.smallest)})
        for level in range(len(self.channels) - 1, -1, -1):
            steps += self._blocks(level, self.channels[level], steps[-1]["id"])
            if level:
                steps.append({"id": f"wide{level}", "layer": "Upsample", "scale_factor": 2, "mode": "nearest"})
                steps.append(_convolution(f"up{level}", self.channels[level], self.channels[level - 1]))
        steps += self._normed("norm", self.channels[0])
        return [
            *steps,
            _convolution("out", self.channels[0], self.rows.channels),
            {"id": "rows", "layer": OUTPUTS[self.given["output"]]},
        ]

    def _blocks(self, level: int, channels: int, before: str) -> Steps:
        steps: Steps = []
        for block in range(self.given["blocks"]):
            name = f"level{level}_block{block}"
            for half in range(2):
                steps += self._normed(f"{name}_norm{half}", channels)
                steps.append(_convolution(f"{name}_conv{half}", channels, channels))
            steps.append({"id": name, "layer": "Add", "inputs": [before, steps[-1]["id"]]})
            before = name
        return steps

    def _normed(self, step_id: str, channels: int) -> Steps:
        """A norm, unless there is none, and the activation."""
        activation = {"id": f"{step_id}_activation", "layer": ACTIVATIONS[self.given["activation"]]}
        match self.given["norm"]:
            case "group":
                groups = self.given["groups"]
                norm = {"id": step_id, "layer": "GroupNorm", "num_groups": groups, "num_channels": channels}
                return [norm, activation]
            case "batch":
                return [{"id": step_id, "layer": "BatchNorm2d", "num_features": channels}, activation]
        return [activation]

    def _spatial_heads(self) -> tuple[Steps, list[str]]:
        declared, latent_channels = self.manifest.encoder, self.manifest.latent.shape[0]
        assert declared is not None
        width = self.channels[-1] + label_width(self.manifest)
        before = "planes" if self.manifest.labels is not None else "norm_activation"
        if declared.head == "interleaved" and declared.scale != "none":
            raise InvalidBundle(
                "Spatial latents of residual are halves of the channels, one after the other: take the head chunked.",
                pointer="/encoder/head",
            )
        names = {"chunked": ["heads"], "pair": ["mean", "scale"]}[declared.head]
        if declared.scale == "none":
            names = ["mean"]
        channels = 2 * latent_channels if names == ["heads"] else latent_channels
        return [_convolution(name, width, channels, inputs=[before]) for name in names], names


def _convolution(step_id: str, fewer: int, more: int, **others: Any) -> dict[str, Any]:
    """Three by three, which keeps the sides, or with a stride of 2 halves them."""
    step = {"id": step_id, "layer": "Conv2d", "in_channels": fewer, "out_channels": more, "kernel_size": 3}
    return {**step, "padding": 1, **others}


def _image_rows(manifest: VaeManifest) -> ImageRows:
    rows = manifest.rows
    if not isinstance(rows, ImageRows) or rows.layout != "CHW":
        raise InvalidBundle("residual is for images of layout CHW; others take sequential.", pointer="/rows")
    return rows
