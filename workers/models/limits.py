"""What a bundle may be at most. A bundle beyond a bound is refused; nothing is ever cut to fit."""

from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True)
class BundleLimits:
    """Bounds on one bundle: on its files, its weights, its program, and on what decoding one row may need."""

    manifest_bytes: int = 4 * MEBIBYTE
    weights_bytes: int = 2048 * MEBIBYTE
    prior_bytes: int = 64 * MEBIBYTE
    graph_bytes: int = 1024 * MEBIBYTE  # onnx and onnxruntime hold it several times over while it is opened
    header_bytes: int = 4 * MEBIBYTE
    graph_fields: int = 2_000_000  # of a graph's messages: nodes, names, attributes, dimensions
    packed_bytes: int = 64 * MEBIBYTE  # each can become eight
    nodes: int = 20_000
    compression_ratio: int = 100
    parameters: int = 500_000_000
    latent_size: int = 2**20
    tensors: int = 20_000
    steps: int = 4_096
    step_values: int = 2**26
    program_values: int = 2**30
    row_operations: int = 2**40  # seconds of a processor


DEFAULT_LIMITS = BundleLimits()
