"""One ONNX file of a user's own: opened, understood, and as the graph that goes into the bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from latentmill.exporting.onnx.adapting import (
    adapt_inputs,
    append_probabilities,
    check_inputs,
    fixed_batch,
    free_batch_axis,
    shape_outputs,
)
from latentmill.exporting.onnx.files import read_model
from latentmill.exporting.onnx.originals import OriginalFile
from latentmill.exporting.onnx.roles import Roles, roles_of
from latentmill.exporting.onnx.tidying import tidied, without_unneeded
from latentmill.exporting.probabilities import TableProbabilities
from latentmill.specs import VaeManifest
from workers.models.limits import DEFAULT_LIMITS
from workers.models.onnx.parsing import parse_graph

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Foreign:
    """A file's graph, what is what in it, the file as it is, and the batch size that it is fixed at, if it is."""

    part: str
    file: str
    model: "ModelProto"
    roles: Roles
    original: OriginalFile
    batch: int | None

    def graph(
        self, manifest: VaeManifest, last: nn.Module | None, row_shapes: dict[str, tuple[int, ...]]
    ) -> tuple[bytes, list[str]]:
        """The graph of the contract, and what was done for it. To be called once: the model is changed.

        `last` goes behind the first output; outputs in `row_shapes` get that shape first.
        """
        notes = []
        if self.batch is not None:
            free_batch_axis(self.model, self.roles, self.batch)
            notes.append(
                f"The {self.part}'s batch axis, fixed at {self.batch}, is free in the bundle: every row came out as "
                "from the file."
            )
        notes += adapt_inputs(self.model, self.roles, manifest, self.part)
        names = shape_outputs(self.model, self.roles.outputs, row_shapes)
        if last is not None:
            groups = list(last.groups) if isinstance(last, TableProbabilities) else type(last).__name__
            append_probabilities(self.model, names["x"], groups)
        return tidied(self.model, list(self.roles.inputs), list(self.roles.outputs), self.part), notes


def open_foreign(
    path: Path, part: str, manifest: VaeManifest, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Foreign:
    """The file at `path` as a part. Raises InvalidBundle for what the service would not run, and what is not clear."""
    model = read_model(path, part)
    roles = roles_of(model, part, manifest, inputs, outputs)
    _keep(model, roles)
    check_inputs(model, roles, manifest, part)
    parse_graph(model.SerializeToString(), path.name, DEFAULT_LIMITS)
    batch = fixed_batch(model, roles)
    return Foreign(part, path.name, model, roles, OriginalFile(path, part, roles, manifest, batch), batch)


def _keep(model: "ModelProto", roles: Roles) -> None:
    """Inputs and outputs in the order of the contract, and nothing that they do not need: no z that is drawn."""
    graph = model.graph
    given = {value.name: value for value in graph.input}
    made = {value.name: value for value in graph.output}
    kept = [given[name] for name in roles.inputs.values()]
    wanted = [made[name] for name in roles.outputs.values()]
    del graph.input[:]
    graph.input.extend(kept)
    del graph.output[:]
    graph.output.extend(wanted)
    without_unneeded(graph)
