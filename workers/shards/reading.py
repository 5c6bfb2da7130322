"""A few rows out of a stored shard, as JSON has them, without reading the rest of it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from latentmill.errors import Internal
from workers.shards.plain import table_rows, without_missing
from workers.shards.schema import ShardSchema

LOCAL_HEADER_BYTES = 30
BESIDE = ("labels", "latents")


def stored_rows(format: str, path: Path, schema: ShardSchema, first: int, stop: int) -> dict[str, Any]:
    """Rows first to stop of the file: `rows`, and beside them `labels` and `latents`, null where it has none.

    As `plain_rows` gives them. Of the schema the rows count; what stands beside them, the file says.
    """
    return READERS[format](path, schema, first, stop)


def _from_npz(path: Path, schema: ShardSchema, first: int, stop: int) -> dict[str, Any]:
    arrays = {name: array[first:stop] for name, array in _mapped_arrays(path).items()}
    beside = {name: arrays[name].tolist() if name in arrays else None for name in BESIDE}
    if not schema.is_table:
        return {"rows": arrays["rows"].tolist(), **beside}
    marks = arrays.get("missing")
    columns = []
    for field in schema.rows:
        missing = marks[field.name] if field.missing and marks is not None else None
        columns.append(without_missing(arrays["rows"][field.name].tolist(), missing))
    return {"rows": table_rows([field.name for field in schema.rows], columns), **beside}


def _mapped_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz of ours, whose members are stored as they are: mapped, so that only what is used is read."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise Internal(f"{path.name}: the member {entry.filename} is compressed")
            file.seek(entry.header_offset)
            header = file.read(LOCAL_HEADER_BYTES)
            # The local header ends with two lengths: of the name, and of what stands behind it (APPNOTE 4.3.7).
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            name = entry.filename.removesuffix(".npy")
            empty = np.zeros(shape, dtype)
            arrays[name] = np.memmap(path, dtype, "r", file.tell(), shape) if empty.size else empty
    return arrays


def _from_parquet(path: Path, schema: ShardSchema, first: int, stop: int) -> dict[str, Any]:
    table = _parquet_rows(path, first, stop)
    described = json.loads((table.schema.metadata or {}).get(b"latentmill", b"{}"))
    shapes: dict[str, list[int]] = described.get("shapes", {})

    def column(name: str) -> list[Any]:
        array = table[name].combine_chunks()
        if name not in shapes:
            return list(array.to_pylist())
        flat: NDArray[Any] = array.flatten().to_numpy(zero_copy_only=False)
        return list(flat.reshape(-1, *shapes[name]).tolist())

    beside = {name: column(name) if name in table.column_names else None for name in BESIDE}
    if not schema.is_table:
        return {"rows": column("rows"), **beside}
    names = [field.name for field in schema.rows]
    return {"rows": table_rows(names, [column(name) for name in names]), **beside}


def _parquet_rows(path: Path, first: int, stop: int) -> pa.Table:
    """Rows first to stop, from the row groups that hold them."""
    with pq.ParquetFile(path) as file:
        starts = np.cumsum([0, *(file.metadata.row_group(n).num_rows for n in range(file.num_row_groups))])
        groups = [n for n in range(file.num_row_groups) if starts[n] < stop and starts[n + 1] > first]
        table = file.read_row_groups(groups)
        return table.slice(first - int(starts[groups[0]]), stop - first)


READERS = {"npz": _from_npz, "parquet": _from_parquet}
