"""Foreign files run by onnxruntime as they are, to compare the bundle with."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmill.errors import InvalidBundle
from latentmill.exporting.onnx.roles import Roles
from latentmill.specs import VaeManifest
from workers.models.labels import conditions
from workers.models.onnx.runtime import load_onnxruntime
from workers.models.onnx.session import first_line, session_options

_KINDS = {"float16": np.float16, "float": np.float32, "double": np.float64, "int32": np.int32, "int64": np.int64}


class OriginalFile:
    """One file in a session of its own. A file with a fixed batch axis is given that many rows at a time."""

    def __init__(self, path: Path, part: str, roles: Roles, manifest: VaeManifest, batch: int | None) -> None:
        onnxruntime = load_onnxruntime()
        self.part, self.roles, self.manifest, self.batch = part, roles, manifest, batch
        self.file = path.name
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), session_options(torch.get_num_threads()), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common type
            raise InvalidBundle(
                f"The {part}, {self.file}, cannot be loaded by onnxruntime {onnxruntime.__version__}: "
                f"{first_line(error)}"
            ) from error
        self._given = {value.name: value for value in self._session.get_inputs()}

    def __call__(self, given: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        """Its outputs by role, in their order, for rows or latents (n, ...) and class indices (n,)."""
        role = "x" if self.part == "encoder" else "z"
        feeds = {self.roles.inputs[role]: given.numpy()}
        if labels is not None and "y" in self.roles.inputs:
            feeds[self.roles.inputs["y"]] = conditions(labels, self.manifest).numpy()
        step = self.batch or len(given)
        rows = -(-len(given) // step) * step  # the last rows again, until the last batch is full
        padded = {name: values[np.minimum(np.arange(rows), len(given) - 1)] for name, values in feeds.items()}
        pieces = [
            self._run({name: values[first : first + step] for name, values in padded.items()})
            for first in range(0, rows, step)
        ]
        outputs = [np.concatenate(parts)[: len(given)] for parts in zip(*pieces, strict=True)]
        return tuple(torch.from_numpy(output.astype(np.float32)) for output in outputs)

    def _run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        placed = {name: self._placed(name, values) for name, values in feeds.items()}
        try:
            made: list[NDArray[Any]] = self._session.run(list(self.roles.outputs.values()), placed)
        except Exception as error:  # its errors have no common type
            shapes = " and ".join(str(list(values.shape)) for values in placed.values())
            raise InvalidBundle(
                f"The {self.part}, {self.file}, does not run on input of shape {shapes}: {first_line(error)}. "
                "Do rows, latent_shape and labels say what the graph takes?"
            ) from error
        rows = len(next(iter(placed.values())))
        for name, values in zip(self.roles.outputs, made, strict=True):
            if values.shape[:1] != (rows,):
                raise InvalidBundle(
                    f"The {self.part}, {self.file}, gives {name} of shape {list(values.shape)} for {rows} rows: the "
                    "first axis must be that of the rows. Convert it with a free one, tf.TensorSpec([None, ...])."
                )
        return made

    def _placed(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """In the type and the number of axes that the file takes."""
        said = self._given[name]
        kind = _KINDS.get(said.type.removeprefix("tensor(").removesuffix(")"), np.float32)
        if len(said.shape) == 2 and values.ndim != 2:
            values = values.reshape(len(values), prod(values.shape[1:]))
        return np.ascontiguousarray(values, dtype=kind)
