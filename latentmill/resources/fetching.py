"""One shard from the service to disk: resumed where it broke off, published only when its sha256 is right."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from latentmill.errors import RangeNotSatisfiable, TooManyRequests, Unavailable, Unreachable, VerificationFailed
from latentmill.resources.dataset_folder import ShardFile, matches
from latentmill.resources.disk import PIECE_BYTES, disk_errors, sha256_of
from latentmill.transport import Patience, Transport

RESUME_SECONDS = 60.0  # without a single new byte

Count = Callable[[int], object]


class Stopped(Exception):
    """Another shard failed, or the user interrupted."""


def fetch_shard(
    transport: Transport, url: str, shard: ShardFile, target: Path, *, count: Count, stop: threading.Event
) -> None:
    """`shard` at `target`. A file that is right already stays; `count` is told of every byte, and of bytes lost."""
    if matches(target, shard):
        count(shard.bytes)
        return
    part = target.with_name(target.name + ".part")
    count(_size(part))
    for _ in range(2):  # a beginning left by something else, or damaged on the way: once more from the first byte
        _fill(transport, url, shard, part, count=count, stop=stop)
        if _size(part) == shard.bytes and sha256_of(part) == shard.sha256:
            with disk_errors(target):
                os.replace(part, target)
            return
        _drop(part, count)
    raise VerificationFailed(f"{shard.name}: the bytes that came do not have the sha256 {shard.sha256}")


def _fill(transport: Transport, url: str, shard: ShardFile, part: Path, *, count: Count, stop: threading.Event) -> None:
    """Append to `part` until it has the shard's size, as many requests as it takes."""
    patience = Patience(RESUME_SECONDS)
    while (had := _size(part)) < shard.bytes or not part.exists():
        if stop.is_set():
            raise Stopped
        try:
            _append(transport, url, part, had, count=count, stop=stop)
            failure = Unreachable(f"{shard.name} breaks off at {_size(part):,} of {shard.bytes:,} bytes")
        except (Unreachable, Unavailable, TooManyRequests) as error:
            failure = error if isinstance(error, Unreachable) else Unreachable(error.detail)
        except RangeNotSatisfiable as error:
            _drop(part, count)
            failure = Unreachable(f"{shard.name}: {error.detail}")
        if _size(part) >= shard.bytes:
            return
        if _size(part) > had:
            patience = Patience(RESUME_SECONDS)
        if not patience.pause():
            raise failure


def _append(transport: Transport, url: str, part: Path, had: int, *, count: Count, stop: threading.Event) -> None:
    """One request for what `part` lacks."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    with transport.stream(url, headers) as response, disk_errors(part):
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {had}-")
        if had and not resumed:
            count(-had)
        with part.open("ab" if resumed else "wb", buffering=PIECE_BYTES) as file:
            for piece in response.iter_bytes():  # as they come: pieces of a fixed size lose the last one to a break
                if stop.is_set():
                    raise Stopped
                file.write(piece)
                count(len(piece))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _drop(part: Path, count: Count) -> None:
    count(-_size(part))
    with disk_errors(part):
        part.unlink(missing_ok=True)
