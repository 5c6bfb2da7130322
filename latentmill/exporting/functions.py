"""The functions and methods of a forward that are twins of a layer: their names, and the arguments that matter."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Twin:
    """A function that does what a layer does: its parameters in order, and which of them the layer has."""

    layer: str
    parameters: str = "input"
    numbers: dict[str, Any] = field(default_factory=dict)  # the layer's number -> its default in the function


PASSING = {
    "contiguous", "clone", "detach", "float", "to", "type", "type_as", "cpu", "cuda", "requires_grad_", "alias",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "identity", "positive",
}  # fmt: skip
"""The value as it is: a program computes in one type on one device, and drops nothing."""

SHAPING = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel",
}  # fmt: skip
"""Understood by the shapes that they give, whatever the arguments."""

_SCALE = {"negative_slope": 0.01}
TWINS: dict[str, Twin] = {
    "relu": Twin("ReLU"),
    "relu6": Twin("ReLU6"),
    "leaky_relu": Twin("LeakyReLU", "input negative_slope inplace", _SCALE),
    "elu": Twin("ELU", "input alpha inplace", {"alpha": 1.0}),
    "celu": Twin("CELU", "input alpha inplace", {"alpha": 1.0}),
    "selu": Twin("SELU"),
    "gelu": Twin("GELU", "input", {"approximate": "none"}),
    "silu": Twin("SiLU"),
    "mish": Twin("Mish"),
    "sigmoid": Twin("Sigmoid"),
    "expit": Twin("Sigmoid"),
    "logsigmoid": Twin("LogSigmoid"),
    "tanh": Twin("Tanh"),
    "softsign": Twin("Softsign"),
    "softplus": Twin("Softplus", "input beta threshold", {"beta": 1.0, "threshold": 20.0}),
    "softmax": Twin("Softmax", "input dim", {"dim": None}),
    "log_softmax": Twin("LogSoftmax", "input dim", {"dim": None}),
    "softmin": Twin("Softmin", "input dim", {"dim": None}),
    "glu": Twin("GLU", "input dim", {"dim": -1}),
    "threshold": Twin("Threshold", "input threshold value", {"threshold": None, "value": None}),
    "hardshrink": Twin("Hardshrink", "input lambd", {"lambd": 0.5}),
    "softshrink": Twin("Softshrink", "input lambd", {"lambd": 0.5}),
    "tanhshrink": Twin("Tanhshrink"),
    "hardtanh": Twin("Hardtanh", "input min_val max_val", {"min_val": -1.0, "max_val": 1.0}),
    "hardsigmoid": Twin("Hardsigmoid"),
    "hardswish": Twin("Hardswish"),
    "exp": Twin("Exp"),
    "log": Twin("Log"),
    "sqrt": Twin("Sqrt"),
    "sin": Twin("Sin"),
    "cos": Twin("Cos"),
    "abs": Twin("Abs"),
    "absolute": Twin("Abs"),
    "pixel_shuffle": Twin("PixelShuffle", "input upscale_factor", {"upscale_factor": None}),
    "pixel_unshuffle": Twin("PixelUnshuffle", "input downscale_factor", {"downscale_factor": None}),
    "one_hot": Twin("OneHot", "input num_classes", {}),
    "clamp": Twin("Clamp", "input min max", {}),
    "clip": Twin("Clamp", "input min max", {}),
    "interpolate": Twin(
        "Upsample",
        "input size scale_factor mode align_corners",
        {"size": None, "scale_factor": None, "mode": "nearest", "align_corners": None},
    ),
    "upsample": Twin(
        "Upsample",
        "input size scale_factor mode align_corners",
        {"size": None, "scale_factor": None, "mode": "nearest", "align_corners": None},
    ),
}
for _axes in ("1d", "2d"):
    TWINS[f"max_pool{_axes}"] = Twin(
        f"MaxPool{_axes}",
        "input kernel_size stride padding dilation ceil_mode",
        {"kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    )
    TWINS[f"avg_pool{_axes}"] = Twin(
        f"AvgPool{_axes}",
        "input kernel_size stride padding ceil_mode count_include_pad",
        {"kernel_size": None, "stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True},
    )
    TWINS[f"adaptive_avg_pool{_axes}"] = Twin(f"AdaptiveAvgPool{_axes}", "input output_size", {"output_size": None})
    TWINS[f"adaptive_max_pool{_axes}"] = Twin(f"AdaptiveMaxPool{_axes}", "input output_size", {"output_size": None})

RENAMED = {"num_classes": "classes", "min": "minimum", "max": "maximum"}
RANDOM = {"randn", "randn_like", "rand", "rand_like", "normal", "normal_", "bernoulli", "rsample", "sample"}
