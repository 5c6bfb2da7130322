"""Tracing with torch.fx, every node with the value that it has for an example batch.

Because values are known, shapes are plain numbers while the module runs: `if x.dim() == 3`, `x.view(x.size(0), -1)` and
`mean, scale = h.chunk(2)` just work. A condition on the values themselves cannot be exported, and is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import is_parametrized

from latentmill.exporting.refusal import refusal, user_line

Value = Any  # a tensor, or a tuple of tensors


class Traced(fx.Proxy):
    """A tensor of the traced module, with its value."""

    def __init__(self, node: fx.Node, tracer: "ValueTracer", value: Tensor) -> None:
        super().__init__(node, tracer)
        self.value = value

    @property
    def shape(self) -> torch.Size:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def dtype(self) -> torch.dtype:
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        return self.value.device

    def size(self, dim: int | None = None) -> Any:
        return self.value.shape if dim is None else self.value.shape[dim]

    def dim(self) -> int:
        return self.value.dim()

    def numel(self) -> int:
        return self.value.numel()

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        raise _Unexportable("it goes through the rows of a batch one by one")

    def __bool__(self) -> bool:
        raise _Unexportable("what it does depends on a value that is only known when it runs")

    def __float__(self) -> float:
        raise _Unexportable("it takes a number out of a tensor")

    __int__ = __index__ = __float__


class _Unexportable(Exception):
    """Something that a program of steps cannot say."""


class ValueTracer(fx.Tracer):
    """Runs every operation on the example values while it records it."""

    record_stack_traces = True

    def __init__(self, root: nn.Module, inputs: dict[str, Tensor]) -> None:
        super().__init__()
        self._inputs = inputs
        self._modules = dict(root.named_modules())
        self._running = False
        self.values: dict[fx.Node, Value] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """torch.nn's own layers are steps; containers and the user's classes are looked into."""
        container = isinstance(m, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        return torch_class(m).__module__.startswith("torch.nn.modules") and not container

    # torch.fx patches calls and attributes of every module while it traces: an operation that runs must not see that.

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self._running else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """numpy's numbers are numbers: `x.reshape(-1, np.prod(shape))` is common."""
        return super().create_arg(a.item() if isinstance(a, np.generic) else a)

    def create_node(self, kind: str, target: Any, *rest: Any, **named: Any) -> fx.Node:
        node = super().create_node(kind, target, *rest, **named)
        if kind == "get_attr":  # torch.fx makes these nodes by itself, for tensors that stand in a call
            self.values[node] = self._stored(str(target))
        return node

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any) -> Any:
        """The result as a proxy; a tuple of proxies where the operation gives several tensors."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **named)
        if kind == "output":
            return proxy
        if kind != "get_attr":
            self._running = True
            try:
                self.values[proxy.node] = self._run(proxy.node)
            finally:
                self._running = False
        value = self.values[proxy.node]
        if isinstance(value, Tensor):
            return Traced(proxy.node, self, value)
        if _is_tensors(value):  # of an LSTM: the sequence, and its two states
            return tuple(self.create_proxy("call_function", _item, (proxy, index), {}) for index in range(len(value)))
        module = self._modules.get(str(target)) if kind == "call_module" else None
        what = f"{target.removeprefix('module.')!r}, a {type(module).__name__}," if module else node_name(proxy.node)
        raise _Unexportable(f"{what} gives something else than a tensor")

    def _stored(self, path: str) -> Value:
        was_running, self._running = self._running, True
        try:
            value: Any = self.root
            for part in path.split("."):
                value = getattr(value, part)
        finally:
            self._running = was_running
        return value.detach() if isinstance(value, Tensor) else value

    def _run(self, node: fx.Node) -> Value:
        def known(item: fx.Node) -> Value:
            return self.values[item]

        if node.op == "placeholder":
            return self._inputs[str(node.target)]
        args, kwargs = fx.node.map_arg(node.args, known), fx.node.map_arg(node.kwargs, known)
        if node.op == "call_module":
            return self._modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)


def _item(values: Any, index: int) -> Any:
    return values[index]


def _is_tensors(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(item, Tensor) or _is_tensors(item) for item in value)


ITEM = _item


@dataclass(frozen=True)
class Trace:
    """The nodes of a module in order, with the value of each for the example batch, and the nodes that it returns."""

    nodes: list[fx.Node]
    values: dict[fx.Node, Value]
    outputs: list[fx.Node]
    modules: dict[str, nn.Module]
    rows: int


def trace(module: nn.Module, inputs: dict[str, Tensor], part: str) -> Trace:
    """`module` as nodes. Raises InvalidBundle, naming the source line, when its forward method cannot be traced."""
    tracer = ValueTracer(module, inputs)
    try:
        with torch.no_grad():
            graph = tracer.trace(module)
    except Exception as error:  # a stranger's forward method may raise anything
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise refusal(part, what, line=user_line(error.__traceback__)) from error
    nodes = list(graph.nodes)
    return Trace(
        nodes,
        tracer.values,
        _returned(nodes[-1].args[0], part),
        dict(module.named_modules()),
        len(inputs[next(iter(inputs))]),
    )


def torch_class(module: nn.Module) -> type[nn.Module]:
    """The module's class; of one whose weights are parametrized (weight_norm), the class that it was before."""
    return type(module).__mro__[1] if is_parametrized(module) else type(module)


def node_name(node: fx.Node) -> str:
    """What the user called: `torch.relu`, `.view`, a module's path."""
    if node.op == "call_method":
        return f".{node.target}"
    if node.op == "call_function":
        return str(getattr(node.target, "__name__", node.target))
    return str(node.target)


def _returned(returned: Any, part: str) -> list[fx.Node]:
    outputs = list(returned) if isinstance(returned, tuple | list) else [returned]
    if not all(isinstance(output, fx.Node) for output in outputs):
        raise refusal(
            part,
            f"it returns {type(returned).__name__} with something that is not a tensor",
            way_out="Return a tensor or a tuple of tensors.",
        )
    return outputs
