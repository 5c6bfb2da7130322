"""Which format a file has: by its first bytes, which must agree with what its name says."""

from pathlib import Path
from typing import Literal

from latentmill.errors import InvalidDataset

FileFormat = Literal["npy", "npz", "parquet", "idx", "idx.gz", "csv"]

READABLE = "npz, npy, parquet, csv, idx, idx.gz"
BY_SUFFIX: dict[str, FileFormat] = {
    ".npy": "npy",
    ".npz": "npz",
    ".zip": "npz",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".idx": "idx",
    ".gz": "idx.gz",
    ".csv": "csv",
}
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def format_of(path: Path, filename: str) -> FileFormat:
    """The format of the file at `path`, uploaded as `filename`."""
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise InvalidDataset(f"The file {filename!r} is empty")
    found, named = _by_content(head), BY_SUFFIX.get(Path(filename).suffix.lower())
    if found is None and named == "csv":
        return "csv"
    if found is None:
        if Path(filename).suffix.lower() in PICKLES:
            raise InvalidDataset(f"{filename!r} is a pickle by its name; pickles are never loaded, use numpy.save")
        said = f", though its name says {named}" if named else ""
        raise InvalidDataset(f"{filename!r} has no format that can be read ({READABLE}){said}")
    if named is not None and named != found:
        raise InvalidDataset(f"{filename!r} is {named} by its name, but holds {found}; give it its right name")
    return found


def _by_content(head: bytes) -> FileFormat | None:
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"\x1f\x8b"):
        return "idx.gz"
    if head.startswith(b"\0\0") and len(head) >= 4 and head[2] in range(0x08, 0x0F):
        return "idx"
    return None
