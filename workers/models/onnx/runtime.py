"""onnxruntime, loaded so that it talks to nobody.

Its builds from 1.29 on report what they run to their maker over the network, and keep a number of the machine in the
user's cache folder, unless the environment says no before they are loaded (its Privacy.md, "Disabling Telemetry"). A
service that runs its users' models must not. Nothing else of the project imports onnxruntime: a test sees to it.
"""

import os
from typing import Any

_SILENCE = "ORT_DISABLE_TELEMETRY"
_ERRORS_ONLY = 3


def load_onnxruntime() -> Any:
    """The module onnxruntime, silent, loaded at the first call."""
    os.environ[_SILENCE] = "1"  # written, not read: it is the library's only switch
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    return onnxruntime


def load_onnx() -> None:
    """All of onnx that opens a graph, before the process that opens one can read few files more."""
    from google.protobuf import message  # noqa: F401
    from onnx import checker, defs, helper, numpy_helper, shape_inference  # noqa: F401
