"""How much a network computes for a row, by the shapes that go through its layers."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from latentmill.errors import InvalidBundle
from workers.models.architectures.sequential.recurrent import operations_per_step, turns_per_step

_TURN = 2**22  # a cell waits for the one before it: that takes microseconds, however narrow the cell


@contextmanager
def bounded_operations(network: nn.Module, rows: int, most: int, part: str) -> Iterator[None]:
    """While the block runs the network, its layers' operations per row are added up. InvalidBundle beyond `most`.

    A layer without weights can ask for any number of them: a mean over 1,000 x 1,000 pixels around each of a million.
    """
    total = 0

    def count(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        nonlocal total
        made = made[0] if isinstance(made, tuple) and made else made
        if isinstance(made, Tensor) and not any(module.children()):
            total += _operations(module, given, made) // rows
        if total > most:
            raise InvalidBundle(
                f"The {part} takes more than {most:,} multiplications and additions for one row; "
                "make its kernels smaller, its layers narrower or its sequences shorter.",
                pointer=f"/architecture/{part}",
            )

    handles = [module.register_forward_hook(count) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
