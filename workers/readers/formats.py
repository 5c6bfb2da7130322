"""Which format a file has: by its first bytes, which must agree with what its name says."""

from pathlib import Path
from typing import Literal

from latentmill.errors import InvalidDataset
from workers.readers.images import holds_images

FileFormat = Literal["npy", "npz", "parquet", "idx", "idx.gz", "csv", "images"]

READABLE = "npz, npy, parquet, csv, idx, idx.gz, zip of images"
BY_SUFFIX: dict[str, tuple[FileFormat, ...]] = {
    ".npy": ("npy",),
    ".npz": ("npz",),
    ".zip": ("npz", "images"),
    ".parquet": ("parquet",),
    ".pq": ("parquet",),
    ".idx": ("idx",),
    ".gz": ("idx.gz",),
    ".csv": ("csv",),
}
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def format_of(path: Path, filename: str) -> FileFormat:
    """The format of the file at `path`, uploaded as `filename`."""
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise InvalidDataset(f"The file {filename!r} is empty")
    found, named = _by_content(head, path), BY_SUFFIX.get(Path(filename).suffix.lower(), ())
    if found is None and "csv" in named:
        return "csv"
    if found is None:
        if Path(filename).suffix.lower() in PICKLES:
            raise InvalidDataset(f"{filename!r} is a pickle by its name; pickles are never loaded, use numpy.save")
        said = f", though its name says {named[0]}" if named else ""
        raise InvalidDataset(f"{filename!r} has no format that can be read ({READABLE}){said}")
    if named and found not in named:
        said = f"{filename!r} is {named[0]} by its name, but holds {spoken(found)}"
        raise InvalidDataset(f"{said}; give it its right name")
    return found


def spoken(found: FileFormat) -> str:
    """The format as messages call it."""
    return "a zip of images" if found == "images" else found


def _by_content(head: bytes, path: Path) -> FileFormat | None:
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "images" if holds_images(path) else "npz"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\x1f\x8b"):
        return "idx.gz"
    if head.startswith(b"\0\0") and len(head) >= 4 and head[2] in range(0x08, 0x0F):
        return "idx"
    return None
