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
from workers.models.limits import MEBIBYTE, BundleLimits
from workers.zips import DAMAGED, BoundedReads, DirectoryTooLarge, is_of_the_file

MANIFEST, WEIGHTS, PRIOR = "vae.json", "weights.safetensors", "prior.safetensors"
GRAPHS = {"decoder": "decoder.onnx", "encoder": "encoder.onnx"}
EXPORTER = "make a bundle from your modules with latentmill.export_vae (see `latentmill export --help`)"

_HOLDS = (
    f"a bundle holds {MANIFEST}, {WEIGHTS} or graphs ({', '.join(GRAPHS.values())}), and for a learned prior {PRIOR}"
)
_PIECE_BYTES = MEBIBYTE
_MEMBERS_AT_MOST = 16
_RATIO_COUNTS_FROM_BYTES = MEBIBYTE  # a small file of zeros compresses well and harms nobody
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy")
_FOREIGN = (
    (b"\x80", "a Python pickle, which can run code when it is opened"),
    (b"\x89HDF", "an HDF5 file (Keras)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK", "a zip file"),
)


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


def what_it_is(head: bytes) -> str | None:
    """What a file that begins with `head` is, where that helps its owner; None if it is nothing we know."""
    return next((text for magic, text in _FOREIGN if head.startswith(magic)), None)


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
            head = file.read(8)
        if head.startswith(b"PK"):
            raise InvalidBundle(f"The bundle is a damaged zip file ({error}); export it or upload it again.") from error
        found = what_it_is(head) or f"no zip file ({error})"
        raise InvalidBundle(f"The file is {found}, not a bundle; {EXPORTER}.") from error


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
        raise InvalidBundle(f"The bundle has no {MANIFEST}; {EXPORTER}.")
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
    """Checkpoints that torch saved are zips too: say which, and what to do instead."""
    last = {name.rsplit("/", 1)[-1] for name in names}
    if "constants.pkl" in last or any("/code/" in name for name in names):
        raise InvalidBundle(f"The file is a TorchScript archive, which carries code; {EXPORTER}.")
    if "archive_format" in last or any(name.endswith(".pt2") for name in last):
        raise InvalidBundle(f"The file is a .pt2 archive of torch.export, which can carry pickles; {EXPORTER}.")
    if pickles := sorted(name for name in names if name.lower().endswith(_PICKLES)):
        raise InvalidBundle(
            f"The zip holds {pickles[0]!r}: pickles and checkpoints can run code when they are opened, "
            f"so none is accepted; {EXPORTER}."
        )


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
