"""The module that is meant, under what training has put around it."""

import copy

from torch import nn
from torch.nn.utils import parametrize


def unwrapped(module: nn.Module) -> nn.Module:
    """Without torch.compile and without (Distributed)DataParallel: a bundle is compiled and spread by others."""
    while True:
        kind = type(module).__name__
        inner = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}.get(
            kind
        )
        if inner is None:
            return module
        module = getattr(module, inner)


def folded(module: nn.Module) -> nn.Module:
    """A copy whose parametrised weights (weight_norm, spectral_norm, ...) are plain ones; the module itself if none is.

    To be called in evaluation mode: a spectral norm changes its estimate each time that it is read in training.
    """
    if not any(parametrize.is_parametrized(part) for part in module.modules()):
        return module
    copied = copy.deepcopy(module)
    for part in list(copied.modules()):
        if parametrize.is_parametrized(part):
            _give_own_class(part)
            for name in list(part.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)
    return copied


def _give_own_class(part: nn.Module) -> None:
    """torch takes the property `weight` from the class of the part, which the copy shares with the user's module."""
    shared = type(part)
    own = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    part.__class__ = type(shared.__name__, shared.__bases__, own)
