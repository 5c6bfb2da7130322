"""What a key in storage says of its file: for which resource, by which attempt at which work item it was stored."""

import re
from dataclasses import dataclass

from service.work import Kind

SHARD = re.compile(r"(?P<index>\d+)-(?P<fence>\d+)-[0-9a-f]{64}")
OTHER = re.compile(r".+-(?P<fence>\d+)-[0-9a-f]{64}")
KINDS: dict[str, Kind] = {  # of the work items whose attempts fill a folder
    "jobs": "finalize",
    "datasets": "read",
    "encodings": "encode",
    "fits": "fit",
    "reports": "report",
}
UPLOADS = "uploads"


@dataclass(frozen=True)
class Attempt:
    """Who stored a file: the holder of a work item, with this fence."""

    kind: Kind
    index: int | None
    fence: int


@dataclass(frozen=True)
class Place:
    """Where a file belongs. `attempt` is None where its name does not tell."""

    tenant_id: str
    folder: str
    subject_id: str
    attempt: Attempt | None


def place_of(key: str) -> Place | None:
    """What `key` says of its file; None for a key that the service does not make."""
    match key.split("/"):
        case [tenant_id, folder, name] if folder == UPLOADS:
            return Place(tenant_id, folder, name, None)
        case [tenant_id, folder, subject_id, name] if folder in KINDS:
            return Place(tenant_id, folder, subject_id, _attempt(folder, name))
    return None


def _attempt(folder: str, name: str) -> Attempt | None:
    if folder == "jobs" and (shard := SHARD.fullmatch(name)):
        return Attempt("shard", int(shard["index"]), int(shard["fence"]))
    if other := OTHER.fullmatch(name):
        return Attempt(KINDS[folder], None, int(other["fence"]))
    return None
