"""How much a network computes for a row, by the shapes that go through its layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._python_dispatch import TorchDispatchMode

from latentmill.errors import InvalidBundle
from workers.models.architectures.sequential.recurrent import operations_per_step, turns_per_step

_TURN = 2**22  # a cell waits for the one before it: that takes microseconds, however narrow the cell


@contextmanager
def bounded_operations(network: nn.Module, rows: int, most: int, part: str) -> Iterator[None]:
    """While the block runs the network, its layers' operations per row are added up. InvalidBundle beyond `most`.

    A layer without weights can ask for any number of them: a mean over 1,000 x 1,000 pixels around each of a million.
    """
    total = 0

    def count(operations: int) -> None:
        nonlocal total
        total += operations // rows
        if total > most:
            raise InvalidBundle(
                f"The {part} takes more than {most:,} multiplications and additions for one row; "
                "make its kernels smaller, its layers narrower or its sequences shorter.",
                pointer=f"/architecture/{part}",
            )

    def count_layer(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        made = made[0] if isinstance(made, tuple) and made else made
        if isinstance(made, Tensor) and not any(module.children()):
            count(_operations(module, given, made))

    handles = [module.register_forward_hook(count_layer) for module in network.modules()]
    try:
        with _Products(count):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts products of values with each other, attention above all, which belong to no layer."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._count = count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        kind = func.overloadpacket
        if kind is torch.ops.aten.scaled_dot_product_attention:
            query, key, value = args[:3]  # (..., steps, size)
            self._count(query.numel() * key.shape[-2] + made.numel() * value.shape[-2])
        elif kind in (torch.ops.aten.matmul, torch.ops.aten.bmm, torch.ops.aten.mm):
            self._count(made.numel() * args[0].shape[-1])
        elif kind in (torch.ops.aten.baddbmm, torch.ops.aten.addmm):
            self._count(made.numel() * args[1].shape[-1])
        return made


def _operations(module: nn.Module, given: tuple[Any, ...], made: Tensor) -> int:
    match module:
        case nn.Linear():
            return made.numel() * module.in_features
        case _ConvTransposeNd():
            return int(given[0].numel()) * (module.weight.numel() // module.in_channels)
        case _ConvNd():
            return made.numel() * (module.weight.numel() // module.out_channels)
        case nn.RNNBase():
            turns = turns_per_step(module)
            return len(made) * made.shape[1] * max(operations_per_step(module), turns * _TURN)
        case nn.RNNCellBase():
            return len(made) * operations_per_step(module)
        case nn.AvgPool1d() | nn.AvgPool2d() | nn.MaxPool1d() | nn.MaxPool2d():
            return made.numel() * _window(module)
        case _:
            return made.numel()


def _window(pool: nn.AvgPool1d | nn.AvgPool2d | nn.MaxPool1d | nn.MaxPool2d) -> int:
    axes = 2 if isinstance(pool, nn.AvgPool2d | nn.MaxPool2d) else 1
    return prod(pool.kernel_size) if isinstance(pool.kernel_size, tuple) else int(pool.kernel_size) ** axes
