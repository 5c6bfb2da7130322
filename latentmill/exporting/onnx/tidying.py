"""A graph as a bundle holds it: the contract's names, a free batch axis, nothing of the machine that it was made on."""

from collections.abc import Iterator, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, ValueInfoProto

from latentmill.errors import InvalidBundle
from latentmill.exporting.onnx.names import rename_values, separate_outputs
from latentmill.exporting.refusal import refusal
from workers.models.limits import DEFAULT_LIMITS, MEBIBYTE

BATCH = "batch"


def tidied(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str], part: str) -> bytes:
    """`model` with these names of its inputs and outputs, in their order, as bytes that are the same each time.

    Removed: doc strings and metadata (torch writes source lines there), intermediate shapes, nodes and weights that no
    output needs, operator sets that no node uses.
    """
    graph = model.graph
    separate_outputs(graph)
    own_inputs = inputs_of(graph)
    renamed = {value.name: name for value, name in zip(own_inputs, inputs, strict=True)}
    renamed |= {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
    rename_values(graph, renamed)
    return packed(model, part)


def packed(model: ModelProto, part: str) -> bytes:
    """The graph, whose names are right already, without what no output needs. Raises InvalidBundle above the limit."""
    graph = model.graph
    without_unneeded(graph)
    for each in graphs_of(graph):
        _strip(each)
    for value in [*inputs_of(graph), *graph.output]:
        _free_batch_axis(value, part)
    del model.metadata_props[:]
    model.doc_string = model.domain = ""
    model.model_version = 0
    graph.name = part
    used = {node.domain for each in graphs_of(graph) for node in each.node}
    kept = [opset for opset in model.opset_import if opset.domain in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    if (size := model.ByteSize()) > DEFAULT_LIMITS.graph_bytes:
        raise too_large(part, size)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def too_large(part: str, size: int) -> InvalidBundle:
    """The refusal of a graph of `size` bytes."""
    return InvalidBundle(
        f"The {part} as an ONNX graph has {size / MEBIBYTE:,.0f} MiB; at most "
        f"{DEFAULT_LIMITS.graph_bytes / MEBIBYTE:,.0f} MiB are allowed: make it smaller."
    )


def inputs_of(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that somebody must give: older files list the weights among them."""
    weights = {weight.name for weight in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def graphs_of(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph, and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from graphs_of(attribute.g)
            for inner in attribute.graphs:
                yield from graphs_of(inner)


def _strip(graph: GraphProto) -> None:
    del graph.value_info[:]
    del graph.quantization_annotation[:]
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            attribute.doc_string = ""


def without_unneeded(graph: GraphProto) -> None:
    """Drop nodes and weights that no output needs: an encoder may draw a z that nobody asked for."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    needed.update(name for inner in graphs_of(attribute.g) for n in inner.node for name in n.input)
    if len(kept) < len(graph.node):
        nodes = list(reversed(kept))
        del graph.node[:]
        graph.node.extend(nodes)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    if len(weights) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(weights)
    weight_names = {weight.name for weight in graph.initializer}
    given = [value for value in graph.input if value.name not in weight_names]
    del graph.input[:]
    graph.input.extend(given)


def _free_batch_axis(value: ValueInfoProto, part: str) -> None:
    """Name the first axis; refuse one that is a number. Other axes of unknown length lose names of their own."""
    if not value.type.tensor_type.HasField("shape"):
        return
    axes = value.type.tensor_type.shape.dim
    if not axes or axes[0].HasField("dim_value"):
        shape = [axis.dim_value for axis in axes]
        raise refusal(
            part,
            f"{value.name!r} has the fixed shape {shape}: the batch axis, the first, must be free",
            way_out="Take the batch size from the input: x.view(x.shape[0], -1) in place of x.view(64, -1).",
        )
    axes[0].dim_param = BATCH
    for axis in axes[1:]:
        if axis.HasField("dim_param"):
            axis.ClearField("dim_param")
