"""Modules are loaded before the upload is opened: afterwards few files can be."""

import traceback
from functools import cache

from workers.loading import loading


@cache
@loading()
def load_readers() -> None:
    """What reads datasets: a third of a second."""
    from workers.sandbox import performing  # noqa: F401


@cache
@loading()
def load_models() -> None:
    """torch, the compiler that it loads at its first dry run, the operator's architectures: two seconds. And what opens
    graphs, a fifth of one: onnxruntime looks for GPUs when it is loaded, where a confined process may not look.
    """
    from importlib.metadata import entry_points

    import torch

    from latentmill.specs import VaeManifest
    from workers.models import inspection  # noqa: F401
    from workers.models.architectures.interface import ENTRY_POINTS
    from workers.models.architectures.registry import build
    from workers.models.limits import DEFAULT_LIMITS
    from workers.models.onnx import checking, vae  # noqa: F401
    from workers.models.onnx.runtime import load_onnx, load_onnxruntime
    from workers.models.shapes import check_shapes

    load_onnx()
    load_onnxruntime()
    torch.set_num_threads(1)  # threads of a pool made here would escape what this one gives up later
    smallest = {
        "schema": 1,
        "name": "smallest",
        "engine": "torch",
        "latent": {"shape": [1]},
        "rows": {"kind": "tensor", "shape": [1]},
        "architecture": {"name": "sequential", "decoder": [{"layer": "Linear", "in_features": 1, "out_features": 1}]},
    }
    manifest = VaeManifest.model_validate(smallest)
    check_shapes(build(manifest, DEFAULT_LIMITS), manifest, DEFAULT_LIMITS)
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception:  # whoever names it in a bundle is told
            traceback.print_exc()
