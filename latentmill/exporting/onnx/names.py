"""Values of a graph under other names."""

from collections.abc import Mapping

from onnx import AttributeProto, GraphProto, helper


def rename_values(graph: GraphProto, renamed: Mapping[str, str]) -> None:
    """Give inputs and outputs the names in `renamed`; a value within that has such a name already gets another."""
    taken = set(renamed.values())
    known = _names(graph)
    moved = {name: _free(f"{name}_", known | taken) for name in known & taken if name not in renamed}
    _apply(graph, {**moved, **renamed})


def separate_outputs(graph: GraphProto) -> None:
    """An output that is an input or a weight as well, or is given twice, comes from an Identity of its own."""
    seen = {value.name for value in (*graph.input, *graph.initializer)}
    for value in graph.output:
        if value.name in seen:
            name = _free(f"{value.name}_out", _names(graph))
            graph.node.append(helper.make_node("Identity", [value.name], [name]))
            value.name = name
        seen.add(value.name)


def free_name(wanted: str, graph: GraphProto) -> str:
    """`wanted`, with as many underscores as no other value of the graph has."""
    return _free(wanted, _names(graph))


def _names(graph: GraphProto) -> set[str]:
    values = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    return values | {name for node in graph.node for name in (*node.input, *node.output)} - {""}


def _free(wanted: str, taken: set[str]) -> str:
    while wanted in taken:
        wanted += "_"
    return wanted


def _apply(graph: GraphProto, renamed: Mapping[str, str]) -> None:
    for item in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        item.name = renamed.get(item.name, item.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed.get(name, name)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _apply(attribute.g, renamed)
