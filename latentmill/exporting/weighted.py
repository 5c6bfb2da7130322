"""Functions that are called with stored weights, as the layers that have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from latentmill.exporting.arguments import arguments
from latentmill.exporting.tracing import node_name

if TYPE_CHECKING:
    from latentmill.exporting.translation import Translation


def linear(work: Translation, node: fx.Node) -> str:
    """torch.nn.functional.linear."""
    named = arguments(node, "input weight bias", bias=None)
    return _linear(work, node, named["input"], _tensors(work, node, named))


def product(work: Translation, node: fx.Node) -> str:
    """value @ weight, with the weight as torch.matmul takes it: transposed."""
    source, weight = node.args[:2]
    if not isinstance(source, fx.Node) or not isinstance(weight, fx.Node) or not work.stored.holds(weight):
        raise work.refuse(node, f"{node_name(node)} multiplies matrices that are both computed")
    value = work.value(weight)
    if value.dim() != 2 or work.stored.holds(source):
        raise work.refuse(node, f"{node_name(node)} multiplies by a stored tensor of shape {list(value.shape)}")
    return _linear(work, node, source, {"weight": value.t()})


def sum_and_product(work: Translation, node: fx.Node) -> str:
    """torch.addmm(bias, value, weight)."""
    named = arguments(node, "bias input weight", beta=1, alpha=1)
    if named["beta"] != 1 or named["alpha"] != 1:
        raise work.refuse(node, "addmm is called with options")
    tensors = _tensors(work, node, named)
    return _linear(work, node, named["input"], {**tensors, "weight": tensors["weight"].t()})


def convolution(layer: str, work: Translation, node: fx.Node) -> str:
    """torch.nn.functional.conv1d and conv2d."""
    defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    named = arguments(node, "input weight bias stride padding dilation groups", **defaults)
    tensors = _tensors(work, node, named)
    out_channels, within, *kernel = tensors["weight"].shape
    return _added(work, node, layer, named, tensors, in_channels=within * named["groups"],
                  out_channels=out_channels, kernel_size=kernel, bias="bias" in tensors)  # fmt: skip


def transposed_convolution(layer: str, work: Translation, node: fx.Node) -> str:
    """torch.nn.functional.conv_transpose1d and conv_transpose2d."""
    defaults = {"bias": None, "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
    named = arguments(node, "input weight bias stride padding output_padding groups dilation", **defaults)
    tensors = _tensors(work, node, named)
    in_channels, within, *kernel = tensors["weight"].shape
    return _added(work, node, layer, named, tensors, in_channels=in_channels,
                  out_channels=within * named["groups"], kernel_size=kernel, bias="bias" in tensors)  # fmt: skip


def layer_norm(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input normalized_shape weight bias eps", weight=None, bias=None, eps=1e-5)
    tensors = _tensors(work, node, named)
    if "bias" in tensors and "weight" not in tensors:
        raise work.refuse(node, "layer_norm is called with a bias, but without a weight")
    return _added(work, node, "LayerNorm", named, tensors, elementwise_affine="weight" in tensors,
                  bias="bias" in tensors)  # fmt: skip


def rms_norm(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input normalized_shape weight eps", weight=None, bias=None, eps=None)
    tensors = _tensors(work, node, named)
    return _added(work, node, "RMSNorm", named, tensors, elementwise_affine="weight" in tensors)


def group_norm(work: Translation, node: fx.Node) -> str:
    named = arguments(node, "input num_groups weight bias eps", weight=None, bias=None, eps=1e-5)
    tensors = _tensors(work, node, named)
    if len(tensors) == 1:
        raise work.refuse(node, "group_norm is called with one of weight and bias")
    channels = work.value(named["input"]).shape[1]
    return _added(work, node, "GroupNorm", named, tensors, num_channels=channels, affine=bool(tensors))


def _linear(work: Translation, node: fx.Node, source: fx.Node, tensors: dict[str, Tensor]) -> str:
    out_features, in_features = tensors["weight"].shape
    return _added(work, node, "Linear", {"input": source}, tensors, in_features=in_features,
                  out_features=out_features, bias="bias" in tensors)  # fmt: skip


def _added(
    work: Translation, node: fx.Node, layer: str, named: dict[str, Any], tensors: dict[str, Tensor], **numbers: Any
) -> str:
    owner = type("Weights", (), tensors)()
    name = node_name(node).strip("._")
    return work.layer(node, layer, {**named, **numbers}, named["input"], name=name, owner=owner)


def _tensors(work: Translation, node: fx.Node, named: dict[str, Any]) -> dict[str, Tensor]:
    """Weight and bias. Refused where they are computed from the input."""
    given = {key: named[key] for key in ("weight", "bias") if named[key] is not None}
    if not all(isinstance(item, fx.Node) and work.stored.holds(item) for item in given.values()):
        raise work.refuse(node, f"{node_name(node)} is called with weights that are computed from the input")
    return {key: work.value(item) for key, item in given.items()}


WEIGHTED: dict[str, Callable[[Translation, fx.Node], str]] = {
    "linear": linear,
    "matmul": product,
    "mm": product,
    "addmm": sum_and_product,
    "conv1d": partial(convolution, "Conv1d"),
    "conv2d": partial(convolution, "Conv2d"),
    "conv_transpose1d": partial(transposed_convolution, "ConvTranspose1d"),
    "conv_transpose2d": partial(transposed_convolution, "ConvTranspose2d"),
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
}
