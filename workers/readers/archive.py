"""Zips as readers open them: a bounded directory, members that are stored or deflated, faults in the file's name."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentmill.errors import InvalidDataset, LimitExceeded
from workers.zips import DAMAGED, DIRECTORY_BYTES, BoundedReads, DirectoryTooLarge, is_of_the_file


@contextmanager
def opened_archive(
    path: Path, *, directory_bytes: int = DIRECTORY_BYTES, members: int = 1000
) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, of at most so many members; whatever is wrong with it is an InvalidDataset."""
    try:
        with BoundedReads(path, directory_bytes) as file, zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > members:
                raise LimitExceeded(
                    f"The archive has {len(archive.infolist()):,} members; at most {members:,} are read"
                )
            yield archive
    except DirectoryTooLarge as error:
        most = f"{directory_bytes // 2**20} MiB; at most {members:,} members are read"
        raise LimitExceeded(f"The archive's directory is larger than {most}") from error
    except DAMAGED as error:
        if not is_of_the_file(error):
            raise
        raise InvalidDataset(f"The archive is damaged: {error}") from error


def check_member(member: zipfile.ZipInfo, writers: str) -> None:
    """Refuses a member that is encrypted or packed in an unusual way; `writers` says who packs as it should be."""
    if member.flag_bits & 0x1:
        raise InvalidDataset(f"{member.filename!r} in the archive is encrypted; upload it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidDataset(f"{member.filename!r} uses compression method {member.compress_type}; {writers}")
