"""The arguments of a traced call by name, whether they were given by place, by keyword or not at all."""

from typing import Any

from torch import fx


def arguments(node: fx.Node, names: str, **defaults: Any) -> dict[str, Any]:
    """The arguments of `node` for the parameters `names` (space-separated); those of no interest are left out."""
    given = dict(zip(names.split(), node.args, strict=False)) | dict(node.kwargs)
    return {**defaults, **given}


def whole_numbers(node: fx.Node, name: str) -> list[int]:
    """The numbers of `x.permute(0, 2, 1)`, `x.permute((0, 2, 1))` or `torch.permute(x, dims=(0, 2, 1))`."""
    given: Any = node.kwargs.get(name, node.args[1:])
    if isinstance(given, int):
        return [given]
    flat = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    return [int(number) for number in flat]
