"""What the environment says: where the service is, and what child processes inherit. Nothing else here reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from latentmill.errors import Unreachable

ENDPOINT_FILE = "endpoint.json"


class Endpoint(BaseModel):
    """What a running `latentmill up` leaves in its data directory for the clients of the same user."""

    url: str
    api_key: str


@dataclass(frozen=True)
class Address:
    """Where requests go, and the key that they carry."""

    url: str
    api_key: str | None


def default_data_dir() -> Path:
    """`LATENTMILL_DATA_DIR`, else `~/.latentmill`."""
    named = os.environ.get("LATENTMILL_DATA_DIR")
    return Path(named).expanduser() if named else Path.home() / ".latentmill"


def read_endpoint(data_dir: Path) -> Endpoint | None:
    """The endpoint of the `latentmill up` on `data_dir`, None where nothing runs."""
    try:
        return Endpoint.model_validate_json((data_dir / ENDPOINT_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unreachable(f"{data_dir / ENDPOINT_FILE} cannot be read: {error}") from error


def find_service(url: str | None = None, api_key: str | None = None, data_dir: Path | None = None) -> Address:
    """What was given, else `LATENTMILL_URL` and `LATENTMILL_API_KEY`, else a local `latentmill up`."""
    url = url or os.environ.get("LATENTMILL_URL")
    api_key = api_key or os.environ.get("LATENTMILL_API_KEY")
    if url and api_key:
        return Address(url.rstrip("/"), api_key)
    endpoint = read_endpoint(data_dir or default_data_dir())
    if url:
        known = endpoint is not None and endpoint.url.rstrip("/") == url.rstrip("/")
        return Address(url.rstrip("/"), endpoint.api_key if endpoint is not None and known else None)
    if endpoint is None:
        raise Unreachable(
            "no service found: start one with `latentmill up`, or set LATENTMILL_URL and LATENTMILL_API_KEY"
        )
    return Address(endpoint.url.rstrip("/"), api_key or endpoint.api_key)


def child_environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment for a child; `changes` win, None removes. Children never import from their cwd."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment
