"""Rows and labels as files.

Paths as they are, a folder of images as a zip, arrays as .npy, several arrays as .npz, DataFrames as parquet or csv.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from latentmill.errors import InvalidDataset
from latentmill.specs.pictures import PICTURES, is_left_behind, is_picture
from latentmill.transport import Upload

COPIED_BYTES = 2**20


@contextmanager
def rows_as_file(rows: Any) -> Iterator[Upload]:
    """`rows` as a file to upload; what is not a file yet becomes a temporary one, so that memory holds it once."""
    is_path = isinstance(rows, str | PathLike)
    path = Path(rows).expanduser() if is_path else None
    if path is not None and not path.is_dir():
        yield Upload(existing_file(path), path.name)
        return
    with tempfile.TemporaryDirectory(prefix="latentmill-") as folder:
        yield _written(rows, Path(folder)) if path is None else zipped_folder(path, Path(folder))


@contextmanager
def labels_as_file(labels: Any) -> Iterator[Upload]:
    """`labels` as a file to upload: a path, or one label per row."""
    if isinstance(labels, str | PathLike):
        path = existing_file(Path(labels))
        yield Upload(path, path.name)
        return
    array = np.asarray(labels)
    if array.dtype == object:
        known = array.reshape(-1).tolist()
        if (missing := next((i for i, label in enumerate(known) if _is_missing(label)), None)) is not None:
            raise InvalidDataset(f"labels[{missing}] is missing; every row needs one, or none has", pointer="/labels")
        array = np.asarray([str(label) for label in known]).reshape(array.shape)
    if array.ndim != 1:
        raise InvalidDataset(f"labels must be one per row, but their shape is {array.shape}", pointer="/labels")
    with tempfile.TemporaryDirectory(prefix="latentmill-") as folder:
        path = Path(folder, "labels.npy")
        np.save(path, array, allow_pickle=False)
        yield Upload(path, path.name)


def as_field(metadata: Mapping[str, str] | None) -> str | None:
    """`metadata` as a field of a form holds it."""
    return json.dumps(dict(metadata)) if metadata is not None else None


def existing_file(path: Path) -> Path:
    """`path`, where it is a file."""
    path = path.expanduser()
    if not path.is_file():
        raise InvalidDataset(f"{path} is not a file", pointer="/file")
    return path


def zipped_folder(images: Path, into: Path) -> Upload:
    """The images under a folder as a zip in the folder `into`: the same files give the same bytes, wherever they lie.

    Hidden files, and what macOS and Windows put beside pictures, stay behind. Raises InvalidDataset for any other file.
    """
    files = sorted(path for path in images.rglob("*") if path.is_file())
    names = {path: path.relative_to(images).as_posix() for path in files}
    names = {path: name for path, name in names.items() if not is_left_behind(name)}
    if foreign := next((name for name in names.values() if not is_picture(name)), None):
        raise InvalidDataset(
            f"{foreign!r} in {images} is no image ({PICTURES}): leave it out, or upload labels by themselves",
            pointer="/file",
        )
    if not names:
        raise InvalidDataset(f"{images} holds no image ({PICTURES})", pointer="/file")
    zipped = into / f"{images.resolve().name or 'images'}.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
        for path, name in names.items():
            with path.open("rb") as image, archive.open(zipfile.ZipInfo(name), "w") as member:
                shutil.copyfileobj(image, member, COPIED_BYTES)
    return Upload(zipped, zipped.name)


def _is_missing(label: Any) -> bool:
    """None, NaN, and pandas' marks of a missing value, which would all become a class of that name."""
    is_nan = isinstance(label, float | np.floating) and bool(np.isnan(label))
    return label is None or is_nan or type(label).__name__ in ("NAType", "NaTType")


def _written(rows: Any, folder: Path) -> Upload:
    if hasattr(rows, "to_parquet") and hasattr(rows, "to_csv"):
        return _written_frame(rows, folder)
    if type(rows).__module__.startswith("pyarrow.") and hasattr(rows, "schema"):
        return _written_table(rows, folder)
    if isinstance(rows, Mapping):
        path = folder / "rows.npz"
        arrays: dict[str, Any] = {str(name): _numbers(array) for name, array in rows.items()}
        np.savez(path, **arrays)
    else:
        path = folder / "rows.npy"
        np.save(path, _numbers(rows), allow_pickle=False)
    return Upload(path, path.name)


def _written_frame(frame: Any, folder: Path) -> Upload:
    if find_spec("pyarrow") is None:
        path = folder / "rows.csv"
        frame.to_csv(path, index=False)
        return Upload(path, path.name)
    path = folder / "rows.parquet"
    try:
        frame.to_parquet(path, index=False)
    except (TypeError, ValueError) as error:  # Arrow's are both, too
        raise InvalidDataset(
            f"The DataFrame cannot be written as parquet: {error}. Each column needs a name and values of one kind: "
            "numbers, booleans or text",
            pointer="/file",
        ) from error
    return Upload(path, path.name)


def _written_table(table: Any, folder: Path) -> Upload:
    from pyarrow import parquet

    path = folder / "rows.parquet"
    parquet.write_table(table, path)
    return Upload(path, path.name)


def _numbers(rows: Any) -> "np.ndarray[Any, Any]":
    array = np.asarray(rows)
    if array.dtype.kind not in "biuf":
        raise InvalidDataset(f"rows must be numbers, but the array holds {array.dtype}", pointer="/file")
    return array
