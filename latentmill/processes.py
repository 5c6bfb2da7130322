"""The processes of the service and the workers, by name: they are never imported here, only started."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from latentmill.errors import NotInstalled

SERVICE_NEEDS = ("alembic", "celery", "fastapi", "python_multipart", "sqlalchemy", "uvicorn")
WORKERS_NEED = ("celery", "pyarrow", "scipy", "sklearn", "sqlalchemy", "torch")


def service_command(*arguments: str) -> list[str]:
    """`python -m service ...`; -P keeps a folder called `service` where the user stands from being taken for ours."""
    return [sys.executable, "-P", "-m", "service", *arguments]


def worker_command(queue: str) -> list[str]:
    """`python -m workers QUEUE`."""
    return [sys.executable, "-P", "-m", "workers", queue]


def require(what: str, needed: Sequence[str], extra: str = "all") -> None:
    """Refuse `what` where packages that it needs are not installed; nothing is imported to find out."""
    missing = sorted({name for name in needed if find_spec(name) is None}, key=str.lower)
    if missing:
        raise NotInstalled(
            f"`latentmill {what}` needs more than the plain install: pip install 'latentmill[{extra}]' "
            f"(missing: {', '.join(missing)})"
        )
