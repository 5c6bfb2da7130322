"""What an export needs around it: torch, and `workers` that is ours."""

from importlib.util import find_spec
from pathlib import Path

from latentmill.errors import NotInstalled


def check_installed(caller: str) -> None:
    """torch is installed, and `workers` is ours: a folder of that name beside the user's script comes before it."""
    if find_spec("torch") is None:
        raise NotInstalled(f"{caller} needs torch: pip install 'latentmill[export]'")
    found = find_spec("workers")
    if found is None or found.origin is None or Path(found.origin).parents[1] != Path(__file__).parents[2]:
        where = found.origin or "a folder without __init__.py" if found is not None else "nowhere"
        raise NotInstalled(
            f"{caller} needs Latentmill's package `workers`, but Python finds {where}: rename that, or run the "
            "export from another folder."
        )
