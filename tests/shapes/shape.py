"""A VAE as somebody would bring it: modules of their own classes, and what they tell the exporter of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tests.shapes.typed import as_values, typed_columns

Modules = tuple[nn.Module | None, nn.Module]


@dataclass(frozen=True)
class Shape:
    """`engine` is what engine="auto" must take; `options` are further arguments of `export_vae`: scale, head, ... .

    `flat` where the encoder takes rows without their axes; `finish` is what the loss does first to what is decoded.
    """

    name: str
    encoder: Callable[[], nn.Module] | None
    decoder: Callable[[], nn.Module]
    rows: dict[str, Any]
    latent: tuple[int, ...] = (4,)
    engine: str = "torch"
    options: dict[str, Any] = field(default_factory=dict)
    flat: bool = False
    finish: Callable[[Tensor], Tensor] | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row as the modules take it."""
        if self.rows["kind"] == "series":
            return (self.rows["steps"], len(self.rows["features"]))
        if self.rows["kind"] == "table":
            widths = [len(c.get("categories", [0])) + c.get("missing", False) for c in self.rows["columns"]]
            return (sum(widths),)
        return tuple(self.rows["shape"])

    @property
    def latent_size(self) -> int:
        return prod(self.latent)

    @property
    def classes(self) -> list[str]:
        """The classes of a conditional model; none for the others."""
        return list(self.options.get("labels", {}).get("classes", []))

    def modules(self) -> Modules:
        """Encoder and decoder in evaluation mode, with weights and running statistics as after some training."""
        torch.manual_seed(0)
        encoder = None if self.encoder is None else self.encoder()
        decoder = self.decoder()
        for module in (encoder, decoder):
            if module is not None:
                _grow(module)
        for seed in range(3):
            y = self.conditions(torch.arange(32) % max(1, len(self.classes)))
            if encoder is not None:
                self._heads(encoder, self.rows_to_encode(32, seed), y)
            run(decoder, torch.randn(32, *self.latent), y)
        return (None if encoder is None else encoder.eval()), decoder.eval()

    def export(self, path: Any, modules: Modules, **options: Any) -> Any:
        """Through `export_vae`, as a user calls it."""
        from latentmill import export_vae

        encoder, decoder = modules
        declared = {"rows": self.rows, "latent_shape": list(self.latent), **self.options, **options}
        return export_vae(path, name=self.name, encoder=encoder, decoder=decoder, **declared)

    def rows_to_encode(self, number: int, seed: int) -> Tensor:
        """Rows (number, *row_shape) as the encoder takes them."""
        if self.rows["kind"] == "table":
            return as_values(self.rows, typed_columns(self.rows, number, seed))
        generator = torch.Generator().manual_seed(seed)
        if self.rows["kind"] != "image":
            return torch.randn(number, *self.row_shape, generator=generator)
        low, high = self.rows.get("range", (0, 1))
        return self.normalised(low + (high - low) * torch.rand(number, *self.row_shape, generator=generator))

    def normalised(self, images: Tensor) -> Tensor:
        """Images as their encoder takes them: less the mean, by the std, where it was trained so."""
        if "mean" not in self.rows:
            return images
        return (images - _per_channel(self.rows, "mean")) / _per_channel(self.rows, "std")

    def conditions(self, classes: Tensor) -> Tensor | None:
        """Class numbers as the modules take them."""
        if not self.classes:
            return None
        one_hot = self.options["labels"].get("encoding", "one_hot") == "one_hot"
        return nn.functional.one_hot(classes, len(self.classes)).float() if one_hot else classes

    def posterior(self, encoder: nn.Module, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and std (n, D) that the encoder's outputs stand for, by the words of the contract."""
        outputs = self._heads(encoder, x, y)
        head, size = self.options.get("head", "pair"), self.latent_size
        if head == "chunked":
            outputs = outputs[0].chunk(2, dim=1)
        elif head == "interleaved":
            outputs = outputs[0].view(len(x), size, 2).unbind(-1)
        mean = outputs[0].reshape(len(x), size)
        scale = self.options.get("scale", "log_variance")
        return mean, (torch.zeros_like(mean) if scale == "none" else STD[scale](outputs[1].reshape(len(x), size)))

    def _heads(self, encoder: nn.Module, x: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
        outputs = run(encoder, x.flatten(1) if self.flat else x, y)
        chosen = self.options.get("outputs", {})
        return tuple(outputs[place] for place in chosen.values()) if chosen else outputs

    def decoded(self, decoder: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        """Rows (n, *row_shape) from latents (n, D), before they are delivered in the units of the data."""
        output = run(decoder, z.reshape(-1, *self.latent), y)[0]
        output = output if self.finish is None else self.finish(output)
        return output.reshape(len(z), *self.row_shape)


STD: dict[str, Callable[[Tensor], Tensor]] = {
    "log_variance": lambda scale: torch.exp(scale / 2),
    "log_std": torch.exp,
    "variance": torch.sqrt,
    "std": torch.abs,
}


@torch.no_grad()
def run(module: nn.Module, given: Tensor, y: Tensor | None) -> tuple[Tensor, ...]:
    """The module's outputs, in the order in which it names them."""
    output = module(given) if y is None else module(given, y)
    if isinstance(output, dict):
        return tuple(output.values())
    return tuple(output) if isinstance(output, tuple | list) else (output,)


@torch.no_grad()
def _grow(module: nn.Module) -> None:
    """Larger weights than fresh modules have: their outputs hardly depend on their inputs, so all would look alike."""
    for weight in module.parameters():
        if weight.dim() > 1:
            weight.mul_(2)


def _per_channel(rows: dict[str, Any], name: str) -> Tensor:
    values = torch.tensor(rows[name])
    return values if rows.get("layout") == "HWC" else values[:, None, None]
