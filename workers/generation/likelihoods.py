"""Rows drawn from what the decoder says of them: output "sample". In the model's space, before the codec."""

from math import prod
from typing import Literal, Protocol

import torch
from torch import Tensor

from latentmill.errors import ModelMismatch
from latentmill.specs import TableRows, VaeManifest
from latentmill.specs.rows import Column
from workers.generation.output_noise import OutputNoise
from workers.models import Vae
from workers.models.categories import has_category_axis, mean_of_categories

SLACK = 1e-3  # by which a probability may lie outside [0, 1], and a sum of probabilities beside 1


class Likelihood(Protocol):
    """How a row is drawn: a map of the decoder's values and noise to rows, on the device where the values lie."""

    noise: OutputNoise

    def draw(self, mean: Tensor, std: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (B, *shape) from noise (B, width), and which rows (B,) have probabilities; None where none are meant."""


def open_likelihood(vae: Vae, output: Literal["mean", "sample"], seed: int) -> Likelihood | None:
    """How the rows of a job with this seed are drawn; None for means. ModelMismatch where there is nothing to draw."""
    if output == "mean":
        return None
    manifest = vae.manifest
    if reason := manifest.why_not_sampled():
        raise ModelMismatch(reason, pointer="/output")
    shape, likelihood = manifest.rows.shape, manifest.likelihood
    if likelihood.kind == "gaussian":
        std = likelihood.std if likelihood.std != "learned" else None
        return GaussianDraw(OutputNoise(seed, "normals", prod(shape)), std)
    if likelihood.kind == "bernoulli":
        return BernoulliDraw(OutputNoise(seed, "uniforms", prod(shape)))
    if has_category_axis(_one_decoded(vae), manifest):
        return CategoricalDraw(OutputNoise(seed, "uniforms", prod(shape)), manifest)
    if isinstance(manifest.rows, TableRows):
        groups = groups_of(manifest.rows.columns)
        return CategoricalColumns(OutputNoise(seed, "uniforms", len(groups)), groups)
    return CategoricalDraw(OutputNoise(seed, "uniforms", prod(shape[:-1])), manifest)


class GaussianDraw:
    """x = mean + std e, e ~ N(0, 1) per value; std is the bundle's number, or the decoder's own where it learns one."""

    def __init__(self, noise: OutputNoise, std: float | None) -> None:
        self.noise, self.std = noise, std

    def draw(self, mean: Tensor, std: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (B, *shape) from normals (B, width)."""
        noise = noise.reshape(mean.shape)
        if self.std is not None:
            return torch.add(mean, noise, alpha=self.std), None
        if std is None:
            raise ValueError("the decoder was to give a std")
        return torch.addcmul(mean, std, noise), None


class BernoulliDraw:
    """x = 1 with probability p, else 0, for each value: 1 where the uniform lies below p."""

    def __init__(self, noise: OutputNoise) -> None:
        self.noise = noise

    def draw(self, mean: Tensor, std: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (B, *shape) of 0 and 1 from uniforms (B, width)."""
        return torch.lt(noise.reshape(mean.shape), mean).to(mean.dtype), in_unit_interval(mean)


class CategoricalDraw:
    """One of the categories on the last axis, by their probabilities.

    On an axis of their own they become the value that the category stands for; on the row's last axis, 1 and 0s.
    """

    def __init__(self, noise: OutputNoise, manifest: VaeManifest) -> None:
        self.noise, self.manifest = noise, manifest

    def draw(self, mean: Tensor, std: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (B, *shape) from probabilities (B, ..., K) and uniforms (B, width), one for each place."""
        rows = chosen(mean, noise.reshape(mean.shape[:-1]))
        probable = in_unit_interval(mean) & sums_to_one(mean)
        return (mean_of_categories(rows, self.manifest) if has_category_axis(mean, self.manifest) else rows), probable


class CategoricalColumns:
    """A table's row: in each group of values one by their probabilities; a group of one is 1 with its probability."""

    def __init__(self, noise: OutputNoise, groups: list[slice]) -> None:
        self.noise, self.groups = noise, groups

    def draw(self, mean: Tensor, std: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows (B, width of the table) from uniforms (B, groups)."""
        rows, probable = torch.empty_like(mean), in_unit_interval(mean)
        for number, group in enumerate(self.groups):
            values, uniforms = mean[:, group], noise[:, number]
            if values.shape[1] == 1:
                rows[:, group] = torch.lt(uniforms[:, None], values).to(mean.dtype)
            else:
                rows[:, group] = chosen(values, uniforms)
                probable &= sums_to_one(values)
        return rows, probable


def groups_of(columns: tuple[Column, ...]) -> list[slice]:
    """The values that are drawn together: those of a column of categories; each one of a boolean's by itself."""
    groups, start = [], 0
    for column in columns:
        width = column.width if column.kind == "category" else 1
        groups += [slice(first, first + width) for first in range(start, start + column.width, width)]
        start += column.width
    return groups


def chosen(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """One-hot (..., K): category k where the uniform (...) falls between the sums before and with k.

    The sums are scaled to end at 1, and a uniform is below 1, so a category of probability 0 is never drawn.
    """
    sums = probabilities.clamp(min=0).cumsum(-1)
    number = (sums <= uniforms[..., None] * sums[..., -1:]).sum(-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter_(-1, number.clamp(max=probabilities.shape[-1] - 1), 1.0)


def in_unit_interval(values: Tensor) -> Tensor:
    """Which rows (B,) hold only values that can be probabilities."""
    low, high = values.flatten(1).aminmax(dim=1)
    return (low >= -SLACK) & (high <= 1 + SLACK)


def sums_to_one(probabilities: Tensor) -> Tensor:
    """Which rows (B,) have probabilities that add up to 1 on the last axis, everywhere."""
    return ((probabilities.sum(-1) - 1).abs() <= SLACK).reshape(len(probabilities), -1).all(1)


def _one_decoded(vae: Vae) -> Tensor:
    """What the decoder gives for a latent of zeros: only its shape is looked at."""
    labels = None if vae.manifest.labels is None else torch.zeros(1, dtype=torch.int64)
    return vae.decode_with_std(torch.zeros(1, vae.manifest.latent.size), labels)[0]
