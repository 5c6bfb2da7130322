"""What an export needs around it: torch, `workers` that is ours, and for graphs what makes and runs them."""

from importlib.util import find_spec
from pathlib import Path

from latentmill.errors import NotInstalled

_INSTALL = "pip install 'latentmill[export]'"


def check_installed(caller: str) -> None:
    """torch is installed, and `workers` is ours: a folder of that name beside the user's script comes before it."""
    if find_spec("torch") is None:
        raise NotInstalled(f"{caller} needs torch: {_INSTALL}")
    found = find_spec("workers")
    if found is None or found.origin is None or Path(found.origin).parents[1] != Path(__file__).parents[2]:
        where = found.origin or "a folder without __init__.py" if found is not None else "nowhere"
        raise NotInstalled(
            f"{caller} needs Latentmill's package `workers`, but Python finds {where}: rename that, or run the "
            "export from another folder."
        )


def missing_for_onnx(*names: str) -> str | None:
    """Which of the packages that ONNX graphs need are not installed, with the way out; None if all are there."""
    missing = [name for name in names or ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    return f"The engine onnx needs {' and '.join(missing)}: {_INSTALL}" if missing else None
