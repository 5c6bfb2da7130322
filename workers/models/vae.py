"""A bundle as a `Vae`: encode gives mean and std, decode gives rows."""

from typing import Protocol

import torch
from torch import Tensor, nn

from latentmill.errors import InvalidBundle, InvalidLabels
from latentmill.specs import Execution, VaeManifest
from workers.models.architectures.registry import Networks, build
from workers.models.bundle import Bundle
from workers.models.categories import has_category_axis, mean_of_categories
from workers.models.heads import learns_std, posterior_of
from workers.models.labels import conditions
from workers.models.prior import Parameters
from workers.models.shapes import check_shapes
from workers.models.weights import load_weights

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Vae(Protocol):
    """What the rest of the workers sees of any engine. Latents are flat, D values per row; inputs may lie anywhere."""

    @property
    def manifest(self) -> VaeManifest: ...

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where results come from."""
        ...

    @property
    def prior_parameters(self) -> Parameters:
        """Weights, means and spread of a learned mixture prior; empty without one."""
        ...

    @property
    def size_bytes(self) -> int:
        """Memory that the weights take."""
        ...

    def encode(self, rows: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows (n, *rows.shape) float32 -> mean (n, D), std (n, D), on the model's device."""
        ...

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (n, D) float32 -> rows (n, *rows.shape) float32, the likelihood's mean, on the model's device."""
        ...

    def decode_with_std(self, latents: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What the decoder itself gives, with the std of each value where the likelihood learns it.

        As `decode`, but where every value comes as K categories they stay on an axis of their own, (n, *shape, K).
        """
        ...


class TorchVae:
    """Networks of the engine torch, with weights, on one device. Labels (n,) are class indices."""

    def __init__(self, bundle: Bundle, networks: Networks, device: torch.device, execution: Execution | None) -> None:
        self.manifest = bundle.manifest
        self.prior_parameters = bundle.prior
        self.device = device
        self._dtype = _DTYPES[execution.dtype] if execution is not None else torch.float32
        layout = execution.layout if execution is not None else "contiguous"
        memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        placed = [
            network.to(device, self._dtype, memory_format=memory_format).eval().requires_grad_(False)  # type: ignore[call-overload]
            for network in (networks.encoder, networks.decoder)
            if network is not None
        ]
        self._encoder: nn.Module | None = placed[0] if len(placed) == 2 else None
        self._decoder: nn.Module = placed[-1]
        self.size_bytes = sum(weight.nbytes for network in placed for weight in network.state_dict().values())

    @torch.inference_mode()
    def encode(self, rows: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self._encoder is None:
            raise InvalidBundle(f"The model {self.manifest.name!r} has no encoder.", pointer="/encoder")
        outputs = self._encoder(self._placed(rows), self._conditions(labels, len(rows)))
        return posterior_of(tuple(output.float() for output in outputs), self.manifest)

    @torch.inference_mode()
    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        decoded = self.decode_with_std(latents, labels)[0]
        return mean_of_categories(decoded, self.manifest) if has_category_axis(decoded, self.manifest) else decoded

    @torch.inference_mode()
    def decode_with_std(self, latents: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        shaped = self._placed(latents).reshape(len(latents), *self.manifest.latent.shape)
        outputs = self._decoder(shaped, self._conditions(labels, len(latents)))
        std = outputs[1].float().abs() if learns_std(self.manifest) else None
        return outputs[0].float(), std

    def _placed(self, values: Tensor) -> Tensor:
        """A copy in memory that torch aligned: products of unaligned memory may differ in bits."""
        return values.to(self.device, self._dtype, copy=True, memory_format=torch.contiguous_format)

    def _conditions(self, labels: Tensor | None, rows: int) -> Tensor | None:
        """The networks' `y`. Labels given to an unconditional model describe the rows and do not reach it."""
        if self.manifest.labels is None:
            return None
        if labels is None or labels.shape != (rows,):
            raise InvalidLabels(f"The model {self.manifest.name!r} is conditional: each of {rows} rows needs a label.")
        return conditions(labels.to(self.device), self.manifest).to(
            self._dtype if self.manifest.labels.encoding == "one_hot" else torch.int64
        )


def load_vae(
    bundle: Bundle,
    *,
    device: str = "cpu",
    execution: Execution | None = None,
    threads: int | None = None,
    inspected: bool = False,
) -> Vae:
    """The bundle's networks on `device`, by its engine. Raises InvalidBundle when its parts do not fit together.

    Of a bundle that was `inspected` the shapes are not tried again: that loads a compiler, and takes seconds. `threads`
    are those of the engine onnx where no execution says them (else those of torch): it has threads of its own.
    """
    if bundle.manifest.engine == "onnx":
        from workers.models.onnx.checking import check_graphs
        from workers.models.onnx.vae import load_onnx_vae

        if not inspected:
            check_graphs(bundle)
        return load_onnx_vae(bundle, device=device, execution=execution, threads=threads)
    networks = build(bundle.manifest, bundle.limits)
    if not inspected:
        check_shapes(networks, bundle.manifest, bundle.limits)
    load_weights(networks, bundle.tensors)
    return TorchVae(bundle, networks, torch.device(device), execution)
