"""A bundle of ONNX graphs as a `Vae`: torch's tensors go in and come out, onnxruntime works on their memory."""

import numpy as np
import torch
from torch import Tensor

from latentmill.errors import InvalidBundle, InvalidLabels
from latentmill.specs import Execution
from workers.models.bundle import Bundle
from workers.models.categories import has_category_axis, mean_of_categories
from workers.models.heads import learns_std, posterior_of
from workers.models.labels import conditions
from workers.models.onnx.outputs import outputs_of
from workers.models.onnx.session import first_line, open_session

_TYPES = {torch.float32: np.float32, torch.int64: np.int64}


class OnnxVae:
    """Graphs of the engine onnx, each in a session of its own, on one device. Labels (n,) are class indices."""

    def __init__(self, bundle: Bundle, device: torch.device, threads: int) -> None:
        self.manifest = bundle.manifest
        self.prior_parameters = bundle.prior
        self.device = device
        self.size_bytes = sum(len(graph) for graph in bundle.graphs.values())
        self._decoder = _Graph("decoder", bundle, device, threads)
        self._encoder = None if self.manifest.encoder is None else _Graph("encoder", bundle, device, threads)

    @torch.inference_mode()
    def encode(self, rows: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self._encoder is None:
            raise InvalidBundle(f"The model {self.manifest.name!r} has no encoder.", pointer="/encoder")
        outputs = self._encoder.run({"x": self._placed(rows), **self._conditions(labels, len(rows))})
        return posterior_of(outputs, self.manifest)

    @torch.inference_mode()
    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        decoded = self.decode_with_std(latents, labels)[0]
        return mean_of_categories(decoded, self.manifest) if has_category_axis(decoded, self.manifest) else decoded

    @torch.inference_mode()
    def decode_with_std(self, latents: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        shaped = self._placed(latents).reshape(len(latents), *self.manifest.latent.shape)
        outputs = self._decoder.run({"z": shaped, **self._conditions(labels, len(latents))})
        return outputs[0], outputs[1].abs() if learns_std(self.manifest) else None

    def _placed(self, values: Tensor) -> Tensor:
        """A copy in memory that torch aligned: products of unaligned memory may differ in bits."""
        return values.to(self.device, torch.float32, copy=True, memory_format=torch.contiguous_format)

    def _conditions(self, labels: Tensor | None, rows: int) -> dict[str, Tensor]:
        """The graphs' `y`. Labels given to an unconditional model describe the rows and do not reach it."""
        if self.manifest.labels is None:
            return {}
        if labels is None or labels.shape != (rows,):
            raise InvalidLabels(f"The model {self.manifest.name!r} is conditional: each of {rows} rows needs a label.")
        return {"y": conditions(labels.to(self.device), self.manifest).contiguous()}


class _Graph:
    """One graph and the outputs that are asked of it, written where torch has made room for them."""

    def __init__(self, part: str, bundle: Bundle, device: torch.device, threads: int) -> None:
        self._outputs, self._device = outputs_of(part, bundle.manifest), device
        self._session = open_session(bundle.graphs[part], part, device=device, threads=threads)
        self._inputs = {given.name for given in self._session.get_inputs()}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def run(self, given: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs for a batch. Raises RuntimeError, as torch does, where the graph fails or memory is short."""
        rows = len(next(iter(given.values())))
        shapes = self._row_shapes(given)
        made = [torch.empty(rows, *shapes[name], dtype=torch.float32, device=self._device) for name in self._outputs]
        binding = self._session.io_binding()
        for name, tensor in given.items():
            if name in self._inputs:  # a part may have no use for the label
                binding.bind_input(name, *self._memory_of(tensor))
        for name, tensor in zip(self._outputs, made, strict=True):
            binding.bind_output(name, *self._memory_of(tensor))
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # onnxruntime works on a stream of its own
        try:
            self._session.run_with_iobinding(binding)
        except RuntimeError as error:
            raise RuntimeError(first_line(error)) from error
        return tuple(made)

    def _memory_of(self, tensor: Tensor) -> tuple[str, int, type, tuple[int, ...], int]:
        return self._device.type, self._device.index or 0, _TYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()

    def _row_shapes(self, given: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
        """The shape of a row of each output, as one row gives it: a graph need not say it."""
        if not self._shapes:
            feeds = {name: tensor[:1].cpu().numpy() for name, tensor in given.items() if name in self._inputs}
            try:
                arrays = self._session.run(list(self._outputs), feeds)
            except Exception as error:  # its errors have no common type
                raise RuntimeError(first_line(error)) from error
            self._shapes = {name: array.shape[1:] for name, array in zip(self._outputs, arrays, strict=True)}
        return self._shapes


def load_onnx_vae(bundle: Bundle, *, device: str, execution: Execution | None, threads: int | None) -> OnnxVae:
    """The bundle's graphs on `device`, with the threads of the execution, else `threads`, else as many as torch has."""
    if execution is not None and (execution.dtype != "float32" or execution.layout != "contiguous"):
        raise InvalidBundle(
            f"A model of the engine onnx runs in float32 and contiguous, not in {execution.dtype}, {execution.layout}: "
            "convert the graph itself, or leave both out.",
            pointer="/execution",
        )
    own_threads = execution.threads if execution is not None else threads or torch.get_num_threads()
    return OnnxVae(bundle, torch.device(device), own_threads)
