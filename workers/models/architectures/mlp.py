"""The architecture `mlp`: layers of hidden units, mirrored."""

from math import prod
from typing import Any

from torch import nn

from latentmill.specs import VaeManifest
from workers.models.architectures.ends import (
    Steps,
    checked,
    heads,
    join_labels,
    label_width,
    linear,
    refuse_unknown,
)
from workers.models.architectures.sequential.architecture import sequential
from workers.models.architectures.sequential.numbers import choice, integers
from workers.models.limits import BundleLimits

ACTIVATIONS = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "tanh": "Tanh",
    "softplus": "Softplus",
}
OUTPUTS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "none": "Identity"}

CHECKS = {
    "hidden": (integers(range(1, 65), 1, 2**20), None),
    "activation": (choice(*ACTIVATIONS), "relu"),
    "output": (choice(*OUTPUTS), "none"),
}


def mlp(numbers: dict[str, Any], manifest: VaeManifest, limits: BundleLimits) -> tuple[nn.Module | None, nn.Module]:
    """{"hidden": [256, 128], "activation": "relu", "output": "sigmoid"}; the decoder's hidden layers are reversed.

    Weights: encoder.hidden<i>, encoder.mean, encoder.scale (or encoder.heads), decoder.hidden<i>, decoder.out.
    Labels are joined, one-hot, to the encoder's flat input and to z.
    """
    refuse_unknown(numbers, "mlp", set(CHECKS), manifest)
    hidden = checked(numbers, "hidden", "mlp", CHECKS)
    activation = ACTIVATIONS[checked(numbers, "activation", "mlp", CHECKS)]
    output = OUTPUTS[checked(numbers, "output", "mlp", CHECKS)]
    row_size, labels = prod(manifest.rows.shape), label_width(manifest)
    start: Steps = [{"id": "given", "layer": "Flatten"}, *join_labels(manifest)]
    networks: dict[str, Any] = {
        "decoder": [
            *start,
            *_stack(manifest.latent.size + labels, hidden[::-1], activation),
            linear("out", hidden[0], row_size),
            {"id": "activation", "layer": output},
            {"id": "rows", "layer": "Reshape", "shape": list(manifest.rows.shape)},
        ]
    }
    if manifest.encoder is not None:
        ends, outputs = heads(manifest, f"activation{len(hidden) - 1}", hidden[-1])
        networks["encoder"] = {
            "steps": [*start, *_stack(row_size + labels, hidden, activation), *ends],
            "outputs": outputs,
        }
    return sequential(networks, manifest, limits)


def _stack(width: int, hidden: tuple[int, ...], activation: str) -> Steps:
    steps: Steps = []
    for index, units in enumerate(hidden):
        steps += [linear(f"hidden{index}", width, units), {"id": f"activation{index}", "layer": activation}]
        width = units
    return steps
