"""npz: a zip of .npy arrays, `rows` and, where the shard has them, `latents` and `labels`.

As `numpy.savez` writes it (stored members, dates of 1980), but row by row: `rows` goes straight into the file, the
arrays that stand behind it wait in scratch files. Tables are one structured array; numpy has no missing values, so a
table that may miss some has a second structured array `missing` that marks them. Class names and categories are
fixed-width text, as wide as the longest name there is, so that every shard of a job has the same type and
`numpy.load` needs no pickle.
"""

import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidRequest
from workers.rows import Field, RowBatch
from workers.shards.schema import ShardBatch, ShardSchema

SCRATCH_IN_MEMORY = 4 * 2**20
DATE = (1980, 1, 1, 0, 0, 0)
MAX_HEADER = 10_000  # numpy.load refuses longer ones


def write_npz(file: Any, schema: ShardSchema, rows: int, batches: Iterable[ShardBatch]) -> None:
    """Writes the archive to `file`, which needs nothing but `write` and `flush`."""
    behind = {field.name: np.dtype((_text_or_number(field), field.shape)) for field in schema.beside}
    marks = _missing_dtype(schema)
    if marks is not None:
        behind["missing"] = marks
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, ExitStack() as scratch:
        waiting = {name: scratch.enter_context(SpooledTemporaryFile(SCRATCH_IN_MEMORY)) for name in behind}
        row_dtype = _row_dtype(schema)
        with _member(archive, "rows", row_dtype, rows) as member:
            for batch in batches:
                member.write(_bytes(_rows(schema, row_dtype, batch.rows)))
                for field in schema.beside:
                    waiting[field.name].write(_bytes(_named(field, batch.beside[field.name])))
                if marks is not None:
                    waiting["missing"].write(_bytes(_marks(marks, batch.rows)))
        for name, dtype in behind.items():
            waiting[name].seek(0)
            with _member(archive, name, dtype, rows) as member:
                shutil.copyfileobj(waiting[name], member, 2**20)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], rows: int) -> Iterator[IO[bytes]]:
    """A member that begins with the .npy header of (rows, *shape of dtype)."""
    base, shape = dtype.subdtype or (dtype, ())
    header = BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(base), "fortran_order": False, "shape": (rows, *shape)}
    if len(repr(described)) > MAX_HEADER - 200:
        raise InvalidRequest("This table has too many columns for npz; ask for the format parquet", pointer="/format")
    np.lib.format.write_array_header_1_0(header, described)
    entry = zipfile.ZipInfo(f"{name}.npy", DATE)
    entry.create_system = 3
    entry.external_attr = 0o600 << 16
    with archive.open(entry, "w", force_zip64=True) as member:
        member.write(header.getvalue())
        yield member


def _text_or_number(field: Field) -> np.dtype[Any]:
    """The type in the file: numbers as they are, categories as text of the width of the longest."""
    if field.categories is None:
        return field.dtype
    return np.dtype(f"<U{max(map(len, field.categories), default=1)}")


def _row_dtype(schema: ShardSchema) -> np.dtype[Any]:
    if schema.is_table:
        return np.dtype([(field.name, _text_or_number(field)) for field in schema.rows])
    return np.dtype((_text_or_number(schema.rows[0]), schema.rows[0].shape))


def _missing_dtype(schema: ShardSchema) -> np.dtype[Any] | None:
    names = [field.name for field in schema.rows if field.missing]
    return np.dtype([(name, np.bool_) for name in names]) if names else None


def _rows(schema: ShardSchema, dtype: np.dtype[Any], batch: RowBatch) -> NDArray[Any]:
    if not schema.is_table:
        return batch.values["rows"]
    table = np.empty(batch.rows, dtype)
    for field in schema.rows:
        table[field.name] = _named(field, batch.values[field.name])
        if field.name in batch.missing and field.categories is not None:
            table[field.name][batch.missing[field.name]] = ""
    return table


def _marks(dtype: np.dtype[Any], batch: RowBatch) -> NDArray[Any]:
    marks = np.empty(batch.rows, dtype)
    for name in dtype.names or ():
        marks[name] = batch.missing[name]
    return marks


def _named(field: Field, values: NDArray[Any]) -> NDArray[Any]:
    """Values as the file has them: categories by name."""
    if field.categories is None:
        return values.astype(field.dtype, copy=False)
    names: NDArray[Any] = np.array(field.categories, dtype=_text_or_number(field))
    return names.take(values)


def _bytes(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
