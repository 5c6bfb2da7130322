"""A forward pass without memory or arithmetic: what shapes a network gives, and how much it would hold."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latentmill.errors import InvalidBundle
from workers.models.arithmetic import bounded_operations
from workers.models.limits import BundleLimits


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the values that every operation makes, and stops one that makes too many."""

    def __init__(self, rows: int, limits: BundleLimits) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows, self.limits, self.total, self.largest = rows, limits, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:  # a view makes nothing, and may be one of a weight
            for value in tree_leaves(result):
                if isinstance(value, Tensor):
                    self._count(value.numel() // self.rows)
        return result

    def _count(self, values: int) -> None:
        self.total += values
        self.largest = max(self.largest, values)
        if self.largest > self.limits.step_values:
            raise InvalidBundle(
                f"One step makes {values:,} values per row, at most {self.limits.step_values:,} are allowed.",
                pointer="/architecture",
            )
        if self.total > self.limits.program_values:
            raise InvalidBundle(
                f"The steps make more than {self.limits.program_values:,} values per row together.",
                pointer="/architecture",
            )


def dry_run(
    network: nn.Module, given: Tensor, labels: Tensor | None, *, part: str, limits: BundleLimits
) -> tuple[tuple[Tensor, ...], int]:
    """Outputs of `network` (on the meta device) for meta inputs, and the most values per row that one step makes.

    Raises InvalidBundle, naming the step, when shapes do not fit together or a bound is passed.
    """
    counting = _Counting(len(given), limits)
    try:
        with torch.inference_mode(), counting, bounded_operations(network, len(given), limits.row_operations, part):
            outputs = network.eval()(given, labels)  # as a job runs it: in training BatchNorm refuses one row
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        where = " ".join(getattr(error, "__notes__", []))
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidBundle(
            f"The {part} does not run on input of shape {list(given.shape)}: {first_line} {where}".rstrip() + ".",
            pointer=f"/architecture/{part}",
        ) from error
    return outputs, counting.largest
