"""The operators that a graph may have: those that compute a row from its latents, and nothing else.

An allow-list, for what is run is a stranger's: each has a size that shapes tell, keeps no state, draws nothing.
"""

from latentmill.errors import InvalidBundle

ELEMENTWISE = frozenset([
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot",
    "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Div",
    "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod",
    "Mul", "Neg", "Not", "Or", "Pow", "PRelu", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh",
    "ThresholdedRelu", "Where", "Xor",
])  # fmt: skip
SHAPES = frozenset([
    "CenterCropPad", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten",
    "Gather", "GatherElements", "GatherND", "OneHot", "Pad", "Range", "Reshape", "ReverseSequence", "ScatterElements",
    "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu",
    "Unsqueeze",
])  # fmt: skip
NETWORK = frozenset([
    "ArgMax", "ArgMin", "Attention", "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "CumSum",
    "Dropout", "Einsum", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample",
    "GroupNormalization", "GRU", "Hardmax", "InstanceNormalization", "LayerNormalization", "LogSoftmax",
    "LpNormalization", "LpPool", "LRN", "LSTM", "MatMul", "MaxPool", "MeanVarianceNormalization", "ReduceL1",
    "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Resize", "RMSNormalization", "RNN", "RotaryEmbedding", "Softmax", "TopK", "Upsample",
])  # fmt: skip
ALLOWED = ELEMENTWISE | SHAPES | NETWORK

_CONTROL = "control flow makes the work for a row unbounded: export the module without loops and branches"
_RANDOM = "a row must depend on the job's seed alone: return mean and scale, and leave drawing to the service"
_COLLECTION = "values are tensors of numbers here: leave sequences, optionals and texts out of the graph"
_BY_VALUES = "the size of its output depends on values, not on shapes: write it with Where, or with a mask"
_WHY_NOT = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _CONTROL),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"), _RANDOM
    ),
    **dict.fromkeys(("NonZero", "Unique", "Compress", "NonMaxSuppression"), _BY_VALUES),
}
_STANDARD = ("", "ai.onnx")


def check_operator(operator: str, domain: str, node: str) -> None:
    """Raises InvalidBundle where a graph may not have the operator; `node` says where it stands."""
    if domain not in _STANDARD:
        raise InvalidBundle(
            f"{node} is of the domain {domain[:100]!r} ({_owner(domain)}): only operators of ONNX itself are run. "
            "Export the module with standard operators, with torch.onnx.export without a custom_translation_table."
        )
    if operator not in ALLOWED:
        raise InvalidBundle(f"{node} is not among the operators that are run here: {_reason(operator)}.")


def _reason(operator: str) -> str:
    if operator in _WHY_NOT:
        return _WHY_NOT[operator]
    if any(word in operator for word in ("Sequence", "Optional", "String", "Regex", "TfIdf")):
        return _COLLECTION
    return "write it with others (docs/operations.md lists them)"


def _owner(domain: str) -> str:
    return {
        "com.microsoft": "onnxruntime's own",
        "ai.onnx.ml": "trees, tables and texts",
        "ai.onnx.preview.training": "training",
    }.get(domain, "custom operators")
