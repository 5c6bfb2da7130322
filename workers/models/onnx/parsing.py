"""A graph out of its bytes: parsed, and refused for whatever in it is not nodes of ONNX and weights of its own."""

from typing import TYPE_CHECKING

from latentmill.errors import InvalidBundle
from workers.models.limits import BundleLimits
from workers.models.onnx.operators import check_operator
from workers.models.onnx.weights import check_tensor
from workers.models.onnx.wire import check_wire

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

OLDEST_OPSET = 7  # onnxruntime promises no older one
_NAME_LENGTH = 100


def parse_graph(content: bytes, file: str, limits: BundleLimits) -> "ModelProto":
    """The model in `content`, all of whose parts are allowed. Raises InvalidBundle naming the node or the tensor."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    check_wire(content, file, limits)
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise InvalidBundle(f"{file} is no ONNX graph, or a damaged one ({error}); export it again.") from error
    if not model.HasField("graph") or not model.graph.node:
        raise InvalidBundle(f"{file} holds no graph; export it again.")
    _check_model(model, file)
    _check_weights(model.graph, file, limits)
    _check_nodes(model.graph, file, limits)
    return model


def opset_of(model: "ModelProto") -> int:
    """The version of ONNX's operators that the graph is written in; 1 where it says none."""
    return max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)


def node_words(node: "NodeProto", file: str) -> str:
    """Which node, for messages: exporters name most, and outputs always have names."""
    name = node.name or next(iter(node.output), "")
    return f"{file}: the node {name[:_NAME_LENGTH]!r} ({node.op_type[:_NAME_LENGTH]})"


def _check_model(model: "ModelProto", file: str) -> None:
    from onnx import __version__
    from onnx.defs import onnx_opset_version

    opset, newest = opset_of(model), onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise InvalidBundle(
            f"{file} is written in opset {opset}; {OLDEST_OPSET} to {newest} are understood here (ONNX {__version__}): "
            "export it with opset_version=18."
        )
    versions = {each.version for each in model.opset_import if each.domain in ("", "ai.onnx")}
    if len(versions) > 1:
        raise InvalidBundle(f"{file} names two opsets, {min(versions)} and {max(versions)}; export it again.")
    if model.functions:
        function = model.functions[0]
        raise InvalidBundle(
            f"{file} has functions of its own ({function.name[:_NAME_LENGTH]!r}): write their nodes into the graph by "
            "torch.onnx.export(..., optimize=True) or onnx.inliner.inline_local_functions(model)."
        )
    if model.training_info:
        raise InvalidBundle(f"{file} holds what training needs (training_info): export the module for inference.")


def _check_weights(graph: "GraphProto", file: str, limits: BundleLimits) -> None:
    if graph.sparse_initializer:
        raise InvalidBundle(f"{file} has sparse weights: store them as dense ones.")
    if len(graph.initializer) > limits.tensors:
        raise InvalidBundle(f"{file} has {len(graph.initializer):,} weights; at most {limits.tensors:,} are allowed.")
    parameters = 0
    given = {value.name for value in graph.input}
    names: set[str] = set()
    for tensor in graph.initializer:
        which = f"{file}: the weight {tensor.name[:_NAME_LENGTH]!r}"
        if tensor.name in given:
            raise InvalidBundle(
                f"{which} is an input, too, and could be given another value: export it with "
                "keep_initializers_as_inputs=False, or take it out of graph.input."
            )
        if tensor.name in names or not tensor.name:
            raise InvalidBundle(f"{which} stands more than once, or has no name; export it again.")
        names.add(tensor.name)
        parameters += check_tensor(tensor, which)
        if parameters > limits.parameters:
            raise InvalidBundle(f"{file} has more than {limits.parameters:,} parameters, the limit.")


def _check_nodes(graph: "GraphProto", file: str, limits: BundleLimits) -> None:
    if len(graph.node) > limits.nodes:
        raise InvalidBundle(
            f"{file} has {len(graph.node):,} nodes; at most {limits.nodes:,} are allowed: an unrolled loop over steps "
            "becomes one node as an LSTM or a GRU."
        )
    for node in graph.node:
        words = node_words(node, file)
        check_operator(node.op_type, node.domain, words)
        for attribute in node.attribute:
            _check_attribute(attribute, words)
        _check_evaluation(node, words)


def _check_attribute(attribute: "AttributeProto", node: str) -> None:
    which = f"{node}, attribute {attribute.name[:_NAME_LENGTH]!r}"
    if attribute.ref_attr_name:
        raise InvalidBundle(f"{which} refers to a function's, and there are no functions here; export it again.")
    kinds = type(attribute)
    if attribute.type in (kinds.GRAPH, kinds.GRAPHS) or attribute.HasField("g") or attribute.graphs:
        raise InvalidBundle(f"{which} is a graph within the graph: export the module without loops and branches.")
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise InvalidBundle(f"{which} is a sparse tensor: store it as a dense one.")
    if attribute.HasField("tp") or attribute.type_protos:
        raise InvalidBundle(f"{which} is a type: sequences and optionals are not run here.")
    for tensor in [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]:
        check_tensor(tensor, which)


def _check_evaluation(node: "NodeProto", words: str) -> None:
    training = [each for each in node.attribute if each.name == "training_mode" and each.i]
    if training and node.op_type == "BatchNormalization":
        raise InvalidBundle(
            f"{words} is in training mode, in which rows depend on the others of their batch: call module.eval() "
            "before the export, and do not ask for training=TrainingMode.TRAINING."
        )
