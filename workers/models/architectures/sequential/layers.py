"""The allow-list of torch.nn layers: which numbers each takes. What is not in these tables does not exist."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from workers.models.architectures.sequential.numbers import (
    Number,
    axis,
    choice,
    either,
    flag,
    integer,
    integers,
    nothing,
    per_axis,
    real,
    several,
)


@dataclass(frozen=True)
class Layer:
    """What one kind of step is made by, the numbers it takes, how many inputs it reads, and what else it makes.

    A step with more than one result makes the first under its id, the others under `<id>.<name>`.
    """

    make: Callable[..., nn.Module]
    numbers: Mapping[str, Number]
    inputs: range = range(1, 2)
    also: tuple[str, ...] = ()


SIZE = Number(integer())
EPSILON = Number(real(0, 1), 1e-5)
BIAS = AFFINE = Number(flag, True)


def _convolution(axes: int) -> dict[str, Number]:
    return {
        "in_channels": SIZE,
        "out_channels": SIZE,
        "kernel_size": Number(per_axis(axes)),
        "stride": Number(per_axis(axes), 1),
        "padding": Number(either(per_axis(axes, 0), choice("same", "valid")), 0),
        "dilation": Number(per_axis(axes), 1),
        "groups": Number(integer(), 1),
        "bias": BIAS,
        "padding_mode": Number(choice("zeros", "reflect", "replicate", "circular"), "zeros"),
    }


def _transposed_convolution(axes: int) -> dict[str, Number]:
    return {
        "in_channels": SIZE,
        "out_channels": SIZE,
        "kernel_size": Number(per_axis(axes)),
        "stride": Number(per_axis(axes), 1),
        "padding": Number(per_axis(axes, 0), 0),
        "output_padding": Number(per_axis(axes, 0), 0),
        "groups": Number(integer(), 1),
        "bias": BIAS,
        "dilation": Number(per_axis(axes), 1),
    }


def _max_pool(axes: int) -> dict[str, Number]:
    return {
        "kernel_size": Number(per_axis(axes)),
        "stride": Number(either(per_axis(axes), nothing), None),
        "padding": Number(per_axis(axes, 0), 0),
        "dilation": Number(per_axis(axes), 1),
        "ceil_mode": Number(flag, False),
    }


def _average_pool(axes: int) -> dict[str, Number]:
    return {
        "kernel_size": Number(per_axis(axes)),
        "stride": Number(either(per_axis(axes), nothing), None),
        "padding": Number(per_axis(axes, 0), 0),
        "ceil_mode": Number(flag, False),
        "count_include_pad": Number(flag, True),
    }


def _padding(sides: int) -> dict[str, Number]:
    return {"padding": Number(per_axis(sides, 0, 4096))}


def _upsample(**numbers: Any) -> nn.Module:
    if (numbers["size"] is None) == (numbers["scale_factor"] is None):
        raise ValueError("exactly one of size and scale_factor must be given")
    return nn.Upsample(**numbers)


def _identity(**_: Any) -> nn.Module:
    return nn.Identity()


_NORMS = {
    "BatchNorm1d": Layer(nn.BatchNorm1d, {"num_features": SIZE, "eps": EPSILON, "affine": AFFINE}),
    "BatchNorm2d": Layer(nn.BatchNorm2d, {"num_features": SIZE, "eps": EPSILON, "affine": AFFINE}),
    "InstanceNorm1d": Layer(nn.InstanceNorm1d, {"num_features": SIZE, "eps": EPSILON, "affine": Number(flag, False)}),
    "InstanceNorm2d": Layer(nn.InstanceNorm2d, {"num_features": SIZE, "eps": EPSILON, "affine": Number(flag, False)}),
    "GroupNorm": Layer(nn.GroupNorm, {"num_groups": SIZE, "num_channels": SIZE, "eps": EPSILON, "affine": AFFINE}),
    "LayerNorm": Layer(
        nn.LayerNorm,
        {
            "normalized_shape": Number(integers(range(1, 7))),
            "eps": EPSILON,
            "elementwise_affine": AFFINE,
            "bias": BIAS,
        },
    ),
    "RMSNorm": Layer(
        nn.RMSNorm,
        {
            "normalized_shape": Number(integers(range(1, 7))),
            "eps": Number(either(nothing, real(0, 1)), None),
            "elementwise_affine": AFFINE,
        },
    ),
}

ACTIVATIONS = {
    "Identity": Layer(nn.Identity, {}),
    "ReLU": Layer(nn.ReLU, {}),
    "ReLU6": Layer(nn.ReLU6, {}),
    "LeakyReLU": Layer(nn.LeakyReLU, {"negative_slope": Number(real(), 0.01)}),
    "PReLU": Layer(nn.PReLU, {"num_parameters": Number(integer(), 1)}),
    "ELU": Layer(nn.ELU, {"alpha": Number(real(), 1.0)}),
    "CELU": Layer(nn.CELU, {"alpha": Number(real(1e-6), 1.0)}),
    "SELU": Layer(nn.SELU, {}),
    "GELU": Layer(nn.GELU, {"approximate": Number(choice("none", "tanh"), "none")}),
    "SiLU": Layer(nn.SiLU, {}),
    "Mish": Layer(nn.Mish, {}),
    "Sigmoid": Layer(nn.Sigmoid, {}),
    "LogSigmoid": Layer(nn.LogSigmoid, {}),
    "Tanh": Layer(nn.Tanh, {}),
    "Softsign": Layer(nn.Softsign, {}),
    "Softplus": Layer(nn.Softplus, {"beta": Number(real(1e-6), 1.0), "threshold": Number(real(), 20.0)}),
    "Softmax": Layer(nn.Softmax, {"dim": Number(axis)}),
    "LogSoftmax": Layer(nn.LogSoftmax, {"dim": Number(axis)}),
    "Hardtanh": Layer(nn.Hardtanh, {"min_val": Number(real(), -1.0), "max_val": Number(real(), 1.0)}),
    "Softmin": Layer(nn.Softmin, {"dim": Number(axis)}),
    "GLU": Layer(nn.GLU, {"dim": Number(axis, -1)}),
    "Threshold": Layer(nn.Threshold, {"threshold": Number(real()), "value": Number(real())}),
    "Hardshrink": Layer(nn.Hardshrink, {"lambd": Number(real(0), 0.5)}),
    "Softshrink": Layer(nn.Softshrink, {"lambd": Number(real(0), 0.5)}),
    "Tanhshrink": Layer(nn.Tanhshrink, {}),
    "RReLU": Layer(nn.RReLU, {"lower": Number(real(), 1 / 8), "upper": Number(real(), 1 / 3)}),
    "Hardsigmoid": Layer(nn.Hardsigmoid, {}),
    "Hardswish": Layer(nn.Hardswish, {}),
}

_DROPOUTS = {  # nothing is dropped when a trained network is used
    name: Layer(_identity, {"p": Number(real(0, 1), 0.5)})
    for name in ("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")
}

_SIZES = {
    "MaxPool1d": Layer(nn.MaxPool1d, _max_pool(1)),
    "MaxPool2d": Layer(nn.MaxPool2d, _max_pool(2)),
    "AvgPool1d": Layer(nn.AvgPool1d, _average_pool(1)),
    "AvgPool2d": Layer(nn.AvgPool2d, _average_pool(2)),
    "AdaptiveAvgPool1d": Layer(nn.AdaptiveAvgPool1d, {"output_size": Number(per_axis(1, 1, 16384))}),
    "AdaptiveAvgPool2d": Layer(nn.AdaptiveAvgPool2d, {"output_size": Number(per_axis(2, 1, 16384))}),
    "AdaptiveMaxPool1d": Layer(nn.AdaptiveMaxPool1d, {"output_size": Number(per_axis(1, 1, 16384))}),
    "AdaptiveMaxPool2d": Layer(nn.AdaptiveMaxPool2d, {"output_size": Number(per_axis(2, 1, 16384))}),
    "Upsample": Layer(
        _upsample,
        {
            "size": Number(either(nothing, integer(1, 16384), integers(range(1, 3), 1, 16384)), None),
            "scale_factor": Number(either(nothing, real(1e-3, 1024), several(real(1e-3, 1024), range(1, 3))), None),
            "mode": Number(choice("nearest", "nearest-exact", "linear", "bilinear", "bicubic"), "nearest"),
            "align_corners": Number(either(nothing, flag), None),
        },
    ),
    "PixelShuffle": Layer(nn.PixelShuffle, {"upscale_factor": Number(integer(1, 64))}),
    "PixelUnshuffle": Layer(nn.PixelUnshuffle, {"downscale_factor": Number(integer(1, 64))}),
    "ZeroPad1d": Layer(nn.ZeroPad1d, _padding(2)),
    "ZeroPad2d": Layer(nn.ZeroPad2d, _padding(4)),
    "ConstantPad1d": Layer(nn.ConstantPad1d, {**_padding(2), "value": Number(real(), 0.0)}),
    "ConstantPad2d": Layer(nn.ConstantPad2d, {**_padding(4), "value": Number(real(), 0.0)}),
    "ReflectionPad1d": Layer(nn.ReflectionPad1d, _padding(2)),
    "ReflectionPad2d": Layer(nn.ReflectionPad2d, _padding(4)),
    "ReplicationPad1d": Layer(nn.ReplicationPad1d, _padding(2)),
    "ReplicationPad2d": Layer(nn.ReplicationPad2d, _padding(4)),
    "CircularPad1d": Layer(nn.CircularPad1d, _padding(2)),
    "CircularPad2d": Layer(nn.CircularPad2d, _padding(4)),
}

LAYERS: Mapping[str, Layer] = {
    "Linear": Layer(nn.Linear, {"in_features": SIZE, "out_features": SIZE, "bias": BIAS}),
    "Conv1d": Layer(nn.Conv1d, _convolution(1)),
    "Conv2d": Layer(nn.Conv2d, _convolution(2)),
    "ConvTranspose1d": Layer(nn.ConvTranspose1d, _transposed_convolution(1)),
    "ConvTranspose2d": Layer(nn.ConvTranspose2d, _transposed_convolution(2)),
    "Embedding": Layer(nn.Embedding, {"num_embeddings": SIZE, "embedding_dim": SIZE}),
    **_NORMS,
    **ACTIVATIONS,
    **_DROPOUTS,
    **_SIZES,
}
