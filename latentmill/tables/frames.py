"""DataFrames as typed columns, and typed columns as DataFrames."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmill.errors import InvalidDataset
from workers.columns import ColumnValues
from workers.columns.fitting import EXACT

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME = 128


def as_frame(table: Any) -> "pd.DataFrame":
    """`table` as a DataFrame of pandas with columns of different names; it may be a Table of pyarrow."""
    import pandas as pd

    if type(table).__module__.startswith("pyarrow.") and hasattr(table, "to_pandas"):
        import pyarrow as pa

        # As pandas' own types they would become floats where one of them is missing.
        nullable = {pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}
        sizes = (8, 16, 32, 64)
        nullable |= {getattr(pa, f"int{size}")(): getattr(pd, f"Int{size}Dtype")() for size in sizes}
        nullable |= {getattr(pa, f"uint{size}")(): getattr(pd, f"UInt{size}Dtype")() for size in sizes}
        table = table.to_pandas(types_mapper=nullable.get)
    if not isinstance(table, pd.DataFrame):
        kind = f"{type(table).__module__}.{type(table).__qualname__}"
        raise InvalidDataset(f"A table is a DataFrame of pandas or a Table of pyarrow, not {kind}: convert it")
    _check_names(table)
    if len(table) == 0 or len(table.columns) == 0:
        raise InvalidDataset(f"The table has {len(table):,} rows and {len(table.columns):,} columns: it is empty")
    return table


def column_values(series: "pd.Series[Any]") -> ColumnValues:
    """The values of one column, by its dtype; by those of its values where that is `object`.

    Raises InvalidDataset, with what was found and the way out, for what is neither number, boolean nor text.
    """
    import pandas as pd

    dtype = series.dtype
    missing = series.isna().to_numpy(np.bool_)
    if isinstance(dtype, pd.CategoricalDtype):
        return _of_categories(series, missing)
    if pd.api.types.is_bool_dtype(dtype):
        return ColumnValues(_filled(series, missing, False).to_numpy(np.bool_), _or_none(missing))
    if pd.api.types.is_integer_dtype(dtype):
        return _of_integers(series, missing)
    if pd.api.types.is_float_dtype(dtype):
        return ColumnValues(_filled(series, missing, 0.0).to_numpy(np.float64), _or_none(missing))
    if pd.api.types.is_object_dtype(dtype):
        return _of_objects(series, missing)
    if pd.api.types.is_string_dtype(dtype):
        return _of_texts(series, missing)
    raise InvalidDataset(f"Column {series.name!r} holds {dtype}{_way_out(series)}")


def frame_of(columns: Mapping[str, ColumnValues], kinds: Mapping[str, str]) -> "pd.DataFrame":
    """float64, int64, bool and text; Float64, Int64 and boolean, whose missing values are NA, where some may miss."""
    import pandas as pd

    nullable = {"number": "Float64", "integer": "Int64", "boolean": "boolean"}
    found: dict[str, Any] = {}
    for name, column in columns.items():
        if column.texts is not None:
            texts = np.array(column.texts, dtype=object)[column.values]
            series = pd.Series(texts, dtype="string")
        elif column.missing is not None:
            series = pd.Series(np.where(column.missing, 0, column.values), dtype=nullable[kinds[name]])
        else:
            series = pd.Series(column.values)
        found[name] = series if column.missing is None else series.mask(column.missing)
    return pd.DataFrame(found)


def _check_names(frame: "pd.DataFrame") -> None:
    for name in frame.columns:
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME:
            raise InvalidDataset(
                f"The column {name!r} needs a name of 1 to {LONGEST_NAME} characters: rename it, for all of them "
                "dataframe.columns = dataframe.columns.map(str)"
            )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InvalidDataset(f"Two columns have the name {twice[0]!r}: rename or drop one")


def _filled(series: "pd.Series[Any]", missing: Any, value: Any) -> "pd.Series[Any]":
    return series.fillna(value) if missing.any() else series


def _or_none(missing: Any) -> Any:
    return missing if missing.any() else None


def _of_integers(series: "pd.Series[Any]", missing: Any) -> ColumnValues:
    filled = _filled(series, missing, 0)
    largest = max(abs(int(filled.min())), abs(int(filled.max())))
    if largest > EXACT:
        raise InvalidDataset(_beyond(series.name, largest))
    return ColumnValues(filled.to_numpy(np.int64), _or_none(missing))


def _beyond(name: Any, value: int) -> str:
    return (
        f"Column {name!r} holds {value}, beyond 2^53, up to which integers are exact: drop it if it only names rows; "
        "as text it is a category"
    )


def _of_categories(series: "pd.Series[Any]", missing: Any) -> ColumnValues:
    categories = series.cat.categories.tolist()
    for category in categories:
        if not isinstance(category, str | int) or isinstance(category, bool):
            raise InvalidDataset(
                f"Column {series.name!r} has the category {category!r} of type {type(category).__name__}: categories "
                "are text or integers, so convert the column, with .astype(str) or to what its values are"
            )
    codes = series.cat.codes.to_numpy(np.int32)
    return ColumnValues(np.maximum(codes, 0), _or_none(missing), tuple(map(str, categories)))


def _of_texts(series: "pd.Series[Any]", missing: Any) -> ColumnValues:
    present = series[~missing]
    texts = sorted({str(text) for text in present.unique().tolist()})
    places = {text: number for number, text in enumerate(texts)}
    values = np.zeros(len(series), np.int32)
    values[~missing] = [places[text] for text in present.tolist()]
    return ColumnValues(values, _or_none(missing), tuple(texts))


def _of_objects(series: "pd.Series[Any]", missing: Any) -> ColumnValues:
    """By the types of the values: all text, all booleans, all integers, or numbers."""
    import pandas as pd

    present = series[~missing].tolist()
    types = list(dict.fromkeys(map(type, present)))
    if all(issubclass(each, str) for each in types) and types:
        return _of_texts(series, missing)
    if all(issubclass(each, bool | np.bool_) for each in types):
        filled = [bool(value) for value in series.where(~missing, False).tolist()]
        return ColumnValues(np.array(filled, np.bool_), _or_none(missing))
    numbers = (int, float, np.integer, np.floating)
    if all(issubclass(each, numbers) and not issubclass(each, bool) for each in types):
        whole = all(issubclass(each, int | np.integer) for each in types)
        if whole and (large := [value for value in present if abs(int(value)) > EXACT]):
            raise InvalidDataset(_beyond(series.name, int(large[0])))
        return column_values(
            pd.Series(series.where(~missing, None), dtype="Int64" if whole else "Float64", name=series.name)
        )
    names = ", ".join(sorted(each.__name__ for each in types))
    way_out = ": convert it to one kind, for example with .astype(str)" if len(types) > 1 else _way_out(series)
    raise InvalidDataset(f"Column {series.name!r} holds objects of type {names}{way_out}")


def _way_out(series: "pd.Series[Any]") -> str:
    import pandas as pd

    name, dtype = series.name, series.dtype
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return (
            f": make numbers of it, as (df[{name!r}] - df[{name!r}].min()).dt.total_seconds(), or categories, as "
            f"df[{name!r}].dt.day_name()"
        )
    if pd.api.types.is_timedelta64_dtype(dtype):
        return f": make numbers of it with df[{name!r}].dt.total_seconds()"
    if pd.api.types.is_object_dtype(dtype) and any(isinstance(value, Decimal) for value in series.head(100)):
        return ": make numbers of it with .astype(float)"
    return ": a table has numbers, integers, booleans and categories (text); convert it, or drop it"
