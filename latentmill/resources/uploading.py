"""Rows and labels as files: paths as they are, arrays as .npy, several arrays as .npz, DataFrames as parquet or csv."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from latentmill.errors import InvalidDataset
from latentmill.transport import Upload


@contextmanager
def rows_as_file(rows: Any) -> Iterator[Upload]:
    """`rows` as a file to upload; what is not a file yet becomes a temporary one, so that memory holds it once."""
    if isinstance(rows, str | PathLike):
        path = existing_file(Path(rows))
        yield Upload(path, path.name)
        return
    with tempfile.TemporaryDirectory(prefix="latentmill-") as folder:
        yield _written(rows, Path(folder))


@contextmanager
def labels_as_file(labels: Any) -> Iterator[Upload]:
    """`labels` as a file to upload: a path, or one label per row."""
    if isinstance(labels, str | PathLike):
        path = existing_file(Path(labels))
        yield Upload(path, path.name)
        return
    array = np.asarray(labels)
    if array.dtype == object:
        array = np.asarray([str(label) for label in array.tolist()])
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


def _written(rows: Any, folder: Path) -> Upload:
    if hasattr(rows, "to_parquet") and hasattr(rows, "to_csv"):
        return _written_table(rows, folder)
    if isinstance(rows, Mapping):
        path = folder / "rows.npz"
        arrays: dict[str, Any] = {str(name): _numbers(array) for name, array in rows.items()}
        np.savez(path, **arrays)
    else:
        path = folder / "rows.npy"
        np.save(path, _numbers(rows), allow_pickle=False)
    return Upload(path, path.name)


def _written_table(frame: Any, folder: Path) -> Upload:
    if find_spec("pyarrow") is not None:
        path = folder / "rows.parquet"
        frame.to_parquet(path, index=False)
    else:
        path = folder / "rows.csv"
        frame.to_csv(path, index=False)
    return Upload(path, path.name)


def _numbers(rows: Any) -> "np.ndarray[Any, Any]":
    array = np.asarray(rows)
    if array.dtype.kind not in "biuf":
        raise InvalidDataset(f"rows must be numbers, but the array holds {array.dtype}", pointer="/file")
    return array
