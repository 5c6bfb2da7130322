"""Tables of typed columns as csv and parquet, right ones and ones that a model's columns do not have."""

import io

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.random import Generator

from latentmill.specs import TableRows
from tests.unit.sandbox.mutations import pick

TABLE = TableRows(
    columns=(
        {"name": "n", "kind": "number", "minimum": 0.0, "maximum": 1.0, "missing": True},
        {"name": "i", "kind": "integer"},
        {"name": "b", "kind": "boolean", "missing": True},
        {"name": "t", "kind": "category", "categories": ("x", "y", "1"), "missing": True},
    )
)
RIGHT = {
    "n": (0.0, 0.25, 1.0, None), "i": (0, 7, -3), "b": (True, False, None), "t": ("x", "y", "1", None),
}  # fmt: skip
WRONG = {
    "n": (float("inf"), float("nan"), -1.0, 1e308), "i": (2**53 + 1, -(2**63), None), "b": (None,),
    "t": ("z", "", "\0", "x" * 300, "\u0663", "nan"),
}  # fmt: skip
TYPES = {
    "n": (pa.float64(), pa.float32(), pa.float16()), "i": (pa.int64(), pa.int32(), pa.float64(), pa.decimal128(20, 2)),
    "b": (pa.bool_(), pa.int8(), pa.string()),
    "t": (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())),
}  # fmt: skip


def tables(random: Generator) -> tuple[bytes, str]:
    """A table of the columns of TABLE, in any order; in half of them a value or a type is wrong, or a name."""
    rows, honest = int(random.integers(1, 40)), random.random() < 0.5
    columns = {}
    for name in random.permutation(list(RIGHT)).tolist():
        values = [pick(random, RIGHT[name]) for _ in range(rows)]
        kind = TYPES[name][0] if honest else pick(random, TYPES[name])
        if not honest and random.random() < 0.3:
            values[int(random.integers(rows))] = pick(random, WRONG[name])
        if pa.types.is_string(kind) and name == "b":
            values = [None if value is None else pick(random, ("true", "NO", " 1 ", "maybe")) for value in values]
        called = name if honest or random.random() < 0.95 else pick(random, ("labels", "\u00e9" * 200, "n"))
        columns[called] = _array(values, kind)
    table = pa.table(columns)
    buffer = io.BytesIO()
    if random.random() < 0.5:
        pq.write_table(table, buffer, row_group_size=int(random.integers(1, 20)))
        return buffer.getvalue(), "a.parquet"
    plain = pa.table(
        {name: c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c for name, c in columns.items()}
    )
    pyarrow.csv.write_csv(plain, buffer)
    return buffer.getvalue(), "a.csv"


def _array(values: list, kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values])
