"""What the steps share: the execution of this machine, keys that no other attempt can have, progress."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from latentmill.specs import Execution
from service.work import Claim
from workers.devices import device_name, execution_versions, pin_execution

if TYPE_CHECKING:
    from workers.workshop import Workshop


Check = Callable[[], None]

PROGRESS_SECONDS = 1.0


class StoredFile(NamedTuple):
    """A file as it lies in storage."""

    key: str
    size_bytes: int


def executed_here(shop: Workshop, execution: Execution) -> Execution:
    """The execution as it is on this machine, and this process set to it."""
    from_here = {"device": shop.device, "device_name": device_name(shop.device)}
    versions = execution_versions(shop.device, execution.engine, execution.versions)
    here = execution.model_copy(update={**from_here, "versions": versions})
    pin_execution(here)
    return here


def put_hashed(shop: Workshop, claim: Claim, folder: str, path: Path) -> StoredFile:
    """Store the file at `path` under a key that no other attempt can have."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    key = f"{claim.tenant_id}/{folder}/{claim.subject_id}/{path.stem}-{claim.fence}-{sha256}"
    size_bytes = path.stat().st_size
    shop.storage.put(key, path)
    return StoredFile(key, size_bytes)


def progress_of(shop: Workshop, claim: Claim) -> Callable[[float], None]:
    """Records how far the claim is, about once a second."""
    said_at = time.monotonic()

    def report(fraction: float) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_SECONDS:
            said_at = time.monotonic()
            with shop.database.writing() as session:
                shop.outcomes.progressed(session, claim, fraction)

    return report
