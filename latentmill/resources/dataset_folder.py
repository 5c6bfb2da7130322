"""The dataset folder that a job leaves: its manifest, its checksums, and the check of both."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from latentmill.errors import Conflict, FieldError, VerificationFailed
from latentmill.resources.disk import disk_errors, sha256_of

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
CARD = "README.md"

SUM_LINE = re.compile(r"^([0-9a-f]{64}) [ *](\S+)$")
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]  # never a path


class ShardFile(BaseModel):
    """One shard as a listing and the manifest name it."""

    index: int
    name: FileName
    first_row: int
    rows: int
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The part of `manifest.json` that says which files there must be."""

    job: str
    rows: int
    shards: list[ShardFile]


@dataclass(frozen=True)
class Verified:
    """What a verified folder holds."""

    job: str
    files: int
    rows: int
    size_bytes: int


def read_manifest(content: bytes) -> Manifest:
    """The manifest in `content`."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise VerificationFailed(f"{MANIFEST} cannot be read: {error.errors()[0]['msg']}") from error
    if (rows := sum(shard.rows for shard in manifest.shards)) != manifest.rows:
        raise VerificationFailed(f"{MANIFEST} names shards of {rows:,} rows, but {manifest.rows:,} rows in all")
    return manifest


def read_sums(content: bytes) -> dict[str, str]:
    """sha256 by file name, as `sha256sum --check` reads it."""
    sums: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        found = SUM_LINE.match(line)
        if found is None:
            raise VerificationFailed(f"{SUMS} has a line that is no checksum: {line[:80]!r}")
        sums[found[2]] = found[1]
    return sums


def check_sums(content: bytes, shards: Sequence[ShardFile]) -> None:
    """Refuse a SHA256SUMS that disagrees with the manifest."""
    sums = read_sums(content)
    for shard in shards:
        if sums.get(shard.name) != shard.sha256:
            raise VerificationFailed(f"{SUMS} and {MANIFEST} disagree about {shard.name}")


def refuse_another_dataset(folder: Path, job: str, shards: Sequence[ShardFile]) -> None:
    """Raise Conflict where `folder` has files of another job: shards of both would be read as one dataset."""
    held = folder / MANIFEST
    if held.is_file():
        try:
            other = read_manifest(held.read_bytes()).job
        except VerificationFailed:  # a damaged manifest is replaced
            other = job
        if other != job:
            raise Conflict(f"{folder} holds the dataset of {other}, not of {job}: choose another folder")
    own = {shard.name for shard in shards}
    for path in sorted(folder.glob("data-*-of-*")):
        if path.name.removesuffix(".part") not in own:
            raise Conflict(f"{folder} holds {path.name}, which is no file of {job}: choose another folder")


def matches(path: Path, shard: ShardFile) -> bool:
    """True where `path` is the shard, to the last bit."""
    return path.is_file() and path.stat().st_size == shard.bytes and sha256_of(path) == shard.sha256


def verify_dataset(folder: Path, *, progress: Callable[[int, int], object] | None = None) -> Verified:
    """Read every file of the folder and compare it with the manifest and SHA256SUMS; all differences are named."""
    manifest = read_manifest(_read(folder / MANIFEST))
    sums = _read(folder / SUMS)
    check_sums(sums, manifest.shards)
    total = sum(shard.bytes for shard in manifest.shards)
    done = 0
    wrong: list[FieldError] = []
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.is_file():
            wrong.append(FieldError(pointer=shard.name, message="is missing"))
        elif not matches(path, shard):
            wrong.append(FieldError(pointer=shard.name, message="differs from its checksum"))
        done += shard.bytes
        if progress is not None:
            progress(done, total)
    shard_names = {shard.name for shard in manifest.shards}
    for name, sha256 in read_sums(sums).items():
        if name not in shard_names and (not (folder / name).is_file() or sha256_of(folder / name) != sha256):
            wrong.append(FieldError(pointer=name, message="is missing or differs from its checksum"))
    if wrong:
        raise VerificationFailed(f"{folder}: {len(wrong)} of {len(manifest.shards)} files are not right", errors=wrong)
    return Verified(manifest.job, len(manifest.shards), manifest.rows, total)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise VerificationFailed(
            f"{path} is missing: {path.parent} is not a complete dataset folder; `latentmill download JOB DIR` does it"
        )
    with disk_errors(path):
        return path.read_bytes()
