"""Where the service may listen: a key that lies readable on this machine is not offered to the network by accident."""

import ipaddress
import socket
from pathlib import Path

from latentmill.errors import StartFailed

KEY_FILE = "api_key"  # in the data directory of `latentmill up`: the key of this machine's user, who may do everything


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`, an address or a name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else set()
    except OSError:  # a name that leads nowhere: the server will say so itself
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def refuse_remote(host: str, data_dir: Path) -> None:
    """Raises StartFailed when a server on `host` would let the network use the key in `data_dir`."""
    if is_loopback(host):
        return
    raise StartFailed(
        f"{host or 'Every address'} can be reached from the network, and {data_dir / KEY_FILE} is a key that may do "
        "everything. From another machine use `ssh -L 8321:127.0.0.1:8321 THIS-MACHINE`; or run `latentmill api`, "
        "`beat` and `worker` on a data directory of their own, with keys of `latentmill keys create`, behind a proxy "
        "with TLS (docker-compose.yml). If this key shall be good for the network: --allow-remote."
    )
