"""The zip of a bundle: judged by its central directory, then read member by member with a count."""

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from latentmill.errors import DataError, InvalidBundle
from workers.models.foreign import CONVERTER, EXPORTER, HEAD_BYTES, foreign_archive, foreign_file
from workers.models.limits import MEBIBYTE, BundleLimits
from workers.zips import DAMAGED, BoundedReads, DirectoryTooLarge, is_of_the_file

MANIFEST, WEIGHTS, PRIOR = "vae.json", "weights.safetensors", "prior.safetensors"
GRAPHS = {"decoder": "decoder.onnx", "encoder": "encoder.onnx"}

_HOLDS = (
    f"a bundle holds {MANIFEST}, {WEIGHTS} or graphs ({', '.join(GRAPHS.values())}), and for a learned prior {PRIOR}"
)
_PIECE_BYTES = MEBIBYTE
_MEMBERS_AT_MOST = 16
_RATIO_COUNTS_FROM_BYTES = MEBIBYTE  # a small file of zeros compresses well and harms nobody


def read_members(path: Path, limits: BundleLimits, sha256: str | None = None) -> dict[str, bytearray]:
    """The members of the bundle at `path`, each within its bound. Raises InvalidBundle before it reads a bad one.

    With `sha256` (hex) the file must be the one that was uploaded, and inspected, under that hash; DataError otherwise.
    """
    with BoundedReads(path) as file, _zip_faults(path):
        if sha256 is not None:
            _check_hash(file, sha256)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_directory(members, limits)
            return {member.filename: _read(archive, member, _bounds(limits)[member.filename]) for member in members}


def _check_hash(file: io.BufferedReader, sha256: str) -> None:
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        raise DataError("The stored bundle is not the file that was uploaded: it was changed or damaged in storage.")
    file.seek(0)


@contextmanager
def _zip_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except DirectoryTooLarge as error:
        raise InvalidBundle("The zip's directory is larger than 4 MiB; a bundle has four members at most.") from error
    except DAMAGED as error:
        if not is_of_the_file(error):
            raise
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(b"PK"):
            raise InvalidBundle(f"The bundle is a damaged zip file ({error}); export it or upload it again.") from error
        if (found := foreign_file(head)) is not None:
            raise InvalidBundle(str(found)) from error
        raise InvalidBundle(f"The file is no zip file, and so no bundle; {EXPORTER}.") from error


def _bounds(limits: BundleLimits) -> dict[str, int]:
    graphs = dict.fromkeys(GRAPHS.values(), limits.graph_bytes)
    return {MANIFEST: limits.manifest_bytes, WEIGHTS: limits.weights_bytes, PRIOR: limits.prior_bytes, **graphs}


def _check_directory(members: list[zipfile.ZipInfo], limits: BundleLimits) -> None:
    """Everything that the central directory alone can tell: names first, since they tell whose file it is."""
    if len(members) > _MEMBERS_AT_MOST:
        _refuse_foreign_archive([member.filename for member in members])
        raise InvalidBundle(f"The zip has {len(members):,} members; {_HOLDS}.")
    names = [member.filename for member in members]
    _refuse_foreign_archive(names)
    for member in members:
        _check_member(member, limits)
    if doubled := {name for name in names if names.count(name) > 1}:
        raise InvalidBundle(f"The zip names {min(doubled)!r} more than once.")
    _check_parts(names)


def _check_parts(names: list[str]) -> None:
    """The manifest, and weights or graphs: which of the two is right, the manifest says."""
    graphs = [name for name in names if name in GRAPHS.values()]
    if MANIFEST not in names:
        raise InvalidBundle(f"The bundle has no {MANIFEST}; {CONVERTER if graphs else EXPORTER}.")
    if not graphs and WEIGHTS not in names:
        raise InvalidBundle(f"The bundle has no {WEIGHTS}, and no {GRAPHS['decoder']}; {EXPORTER}.")
    if graphs and WEIGHTS in names:
        raise InvalidBundle(
            f"The bundle has both {WEIGHTS} and {graphs[0]}: weights are of the engine torch, graphs of onnx; "
            "leave out those that are not meant."
        )
    if graphs and GRAPHS["decoder"] not in names:
        raise InvalidBundle(
            f"The bundle has {graphs[0]}, but no {GRAPHS['decoder']}: only the encoder may be left out."
        )


def _refuse_foreign_archive(names: list[str]) -> None:
    """Checkpoints are zips too: say whose it is, and what to do instead."""
    if (text := foreign_archive(names)) is not None:
        raise InvalidBundle(text)


def _check_member(member: zipfile.ZipInfo, limits: BundleLimits) -> None:
    name = member.filename
    bounds = _bounds(limits)
    problems: tuple[tuple[bool, Callable[[], str]], ...] = (
        (
            name not in bounds,
            lambda: f"is not part of a bundle; {_HOLDS}, in no folder",
        ),
        (bool(member.flag_bits & 0x1), lambda: "is encrypted; bundles are not"),
        (stat.S_ISLNK(member.external_attr >> 16), lambda: "is a symbolic link"),
        (
            member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            lambda: f"uses compression method {member.compress_type}; store or deflate it",
        ),
        (
            member.file_size > bounds.get(name, 0),
            lambda: f"has {member.file_size:,} bytes, at most {bounds[name]:,} are allowed",
        ),
        (
            member.file_size > max(_RATIO_COUNTS_FROM_BYTES, limits.compression_ratio * member.compress_size),
            lambda: (
                f"grows from {member.compress_size:,} to {member.file_size:,} bytes, more than "
                f"{limits.compression_ratio} times: a zip bomb; store it uncompressed"
            ),
        ),
    )
    for wrong, text in problems:
        if wrong:
            raise InvalidBundle(f"{name!r} in the zip {text()}.")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, bound: int) -> bytearray:
    """The bytes of a member, counted while they inflate: the directory's sizes may lie."""
    content = bytearray()
    with archive.open(member) as stream:
        for piece in _pieces(stream):
            content += piece
            if len(content) > min(bound, member.file_size):
                raise InvalidBundle(f"{member.filename!r} is larger than the zip's directory says.")
    if len(content) != member.file_size:
        raise InvalidBundle(f"{member.filename!r} is shorter than the zip's directory says.")
    return content


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece
