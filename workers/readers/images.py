"""A zip of images: every picture one row of uint8, in the order of their names, with the folders as labels.

The order is that in which Python sorts paths: folder by folder, then by name. All have one size and one mode.
"""

import stat
import zipfile
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from latentmill.specs.pictures import PICTURES, is_left_behind, is_picture
from workers.readers.archive import check_member, opened_archive
from workers.readers.labels import fixed_width
from workers.readers.npy import read_bytes
from workers.readers.picture import Form, Picture
from workers.readers.source import Block, ReadLimits, Source, check_rows, rows_per_block

FOLDER = "folder"  # as label_column: the name of the folder that an image lies in
MAX_MEMBERS = 300_000
DIRECTORY_BYTES = 32 * 2**20
MAX_PICTURE_BYTES = 32 * 2**20  # as it is packed into PNG or JPEG: twice what the largest has unpacked
WRITERS = "save the zip again: `zip` stores or deflates"

Parts = tuple[str, ...]


def holds_images(path: Path) -> bool:
    """Whether the zip at `path` holds images rather than the arrays of an npz, by its members' names."""
    with opened_archive(path, directory_bytes=DIRECTORY_BYTES, members=MAX_MEMBERS) as archive:
        names = [name for name in archive.namelist() if not is_left_behind(name)]
    images, arrays = (next((name for name in names if of_kind(name)), None) for of_kind in (is_picture, _is_array))
    if images is not None and arrays is not None:
        raise InvalidDataset(
            f"The archive holds both arrays ({arrays!r}) and images ({images!r}); upload one of the two"
        )
    return images is not None


def open_images(path: Path, limits: ReadLimits, *, label_column: str | None, labels_beside: bool) -> Source:
    """Rows (height, width) of grey images, else (height, width, channels). Labels: the folders, where they are any."""
    with opened_archive(path, directory_bytes=DIRECTORY_BYTES, members=MAX_MEMBERS) as archive:
        members, left_out = _images(archive)
        check_rows(len(members), limits)
        packed_bytes = sum(member.file_size for member in members)
        if packed_bytes > limits.decompressed_bytes:
            raise LimitExceeded(
                f"The images take {packed_bytes:,} bytes; at most {limits.decompressed_bytes:,} are read"
            )
        form = _picture(archive, members[0]).form
    warnings = []
    if left_out:
        warnings.append(f"Files beside the images that were left out: {len(left_out):,}, such as {left_out[0]!r}.")
    labels = None
    if not labels_beside:
        labels, doubt = _folders([_parts(member) for member in members], asked=_asked(label_column))
        warnings += doubt
    return Source(
        form.row_shape,
        np.dtype(np.uint8),
        _blocks(path, [member.filename for member in members], form, labels),
        rows=len(members),
        has_labels=labels is not None,
        layout=None if form.mode == "L" else "HWC",
        warnings=tuple(warnings),
        names=tuple(member.filename for member in members),
    )


def _is_array(name: str) -> bool:
    return name.endswith(".npy")


def _asked(label_column: str | None) -> bool:
    if label_column not in (None, FOLDER):
        raise InvalidDataset(
            f"Images have no column {label_column!r}: their labels are the names of their folders (label_column: "
            f"{FOLDER}), or a file of their own"
        )
    return label_column == FOLDER


def _images(archive: zipfile.ZipFile) -> tuple[list[zipfile.ZipInfo], list[str]]:
    """The members that are images, in their order, and the names of those that nobody meant to send."""
    members, left_out, seen = [], [], set()
    for member in archive.infolist():
        if member.filename.endswith("/"):
            continue
        if is_left_behind(member.filename):
            left_out.append(member.filename)
            continue
        _check(member)
        if member.filename in seen:
            raise InvalidDataset(f"The archive holds {member.filename!r} twice")
        seen.add(member.filename)
        members.append(member)
    if not members:
        raise InvalidDataset(f"The archive holds no image ({PICTURES})")
    return sorted(members, key=_parts), left_out


def _check(member: zipfile.ZipInfo) -> None:
    """Refuses a member that is no image, by what the directory says of it."""
    name = member.filename
    if not is_picture(name):
        raise InvalidDataset(
            f"{name!r} in the archive is no image ({PICTURES}); leave it out, and upload labels as a file of their own"
        )
    if "\\" in name or not {"", ".", ".."}.isdisjoint(_parts(member)):
        raise InvalidDataset(f"{name!r} in the archive is no plain path; zip a folder, as folder/name.png")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InvalidDataset(f"{name!r} in the archive is a link, not a file; put the file itself into it")
    check_member(member, WRITERS)
    if member.file_size > MAX_PICTURE_BYTES:
        raise LimitExceeded(f"{name!r} takes {member.file_size:,} bytes; at most {MAX_PICTURE_BYTES:,} are read of one")


def _parts(member: zipfile.ZipInfo) -> Parts:
    return tuple(member.filename.split("/"))


def _folders(paths: Sequence[Parts], *, asked: bool) -> tuple[list[str] | None, list[str]]:
    """The label of each image, where every one lies one folder below what they share; else none, and a doubt."""
    if asked:
        if bare := next((parts for parts in paths if len(parts) < 2), None):
            raise InvalidDataset(f"{bare[0]!r} lies in no folder, so it has no label; put each image into its class")
        return [parts[-2] for parts in paths], []
    folders = [parts[:-1] for parts in paths]
    shared = _shared(folders)
    depths = {len(folder) - shared for folder in folders}
    if depths == {1}:
        return [folder[-1] for folder in folders], []
    if depths == {0}:
        return None, []
    return None, [
        "No labels were taken from the folders, as they lie in one another. With label_column=folder the folder that "
        "an image lies in is its label; a file of labels works too."
    ]


def shared_folder(names: Sequence[str]) -> str:
    """What the paths of all images begin with: folders, each with its slash, or nothing."""
    folders = [tuple(name.split("/")[:-1]) for name in names]
    return "".join(f"{folder}/" for folder in folders[0][: _shared(folders)])


def _shared(folders: Sequence[Parts]) -> int:
    """How many folders all have in common: those that the first and the last in order have."""
    return sum(takewhile(bool, (a == b for a, b in zip(min(folders), max(folders), strict=False))))


def _blocks(path: Path, names: list[str], form: Form, labels: list[str] | None) -> Iterator[Block]:
    step = rows_per_block(form.row_shape, 1)
    with opened_archive(path, directory_bytes=DIRECTORY_BYTES, members=MAX_MEMBERS) as archive:
        for first in range(0, len(names), step):
            block = names[first : first + step]
            rows = np.empty((len(block), *form.row_shape), np.uint8)
            for i, name in enumerate(block):
                rows[i] = _pixels(archive, archive.getinfo(name), form, names[0])
            yield Block(rows, None if labels is None else _texts(labels[first : first + step], first))


def _pixels(archive: zipfile.ZipFile, member: zipfile.ZipInfo, form: Form, first: str) -> NDArray[np.uint8]:
    picture = _picture(archive, member)
    if picture.form != form:
        raise InvalidDataset(
            f"{member.filename!r} has {picture.form}, {first!r} {form}; all images need one size and one mode: resize "
            "or convert them before"
        )
    return picture.pixels()


def _picture(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Picture:
    with archive.open(member) as file:
        return Picture(bytes(read_bytes(file, member.file_size)), member.filename)


def _texts(labels: list[str], first_row: int) -> NDArray[Any]:
    return fixed_width(labels, lambda i: first_row + i)
