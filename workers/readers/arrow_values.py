"""Columns of Arrow as typed values."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from latentmill.errors import InvalidDataset
from workers.columns import ColumnValues

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
SHOWN = 40  # characters of a value that is refused


def is_text(kind: pa.DataType) -> bool:
    """Whether the values are text, by themselves or in a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def typed_values(array: pa.Array, name: str) -> ColumnValues:
    """A column of a file that has types. Null and NaN are missing."""
    kind = array.type
    if is_text(kind):
        return _texts(array, name)
    if pa.types.is_dictionary(kind):
        return typed_values(array.dictionary_decode(), name)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_null(kind):
        return ColumnValues(np.zeros(len(array)), missing)
    if pa.types.is_boolean(kind):
        return ColumnValues(array.fill_null(False).to_numpy(zero_copy_only=False), _or_none(missing))
    if pa.types.is_integer(kind):
        return ColumnValues(array.fill_null(0).to_numpy(zero_copy_only=False), _or_none(missing))
    if pa.types.is_floating(kind):
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        return ColumnValues(values, _or_none(missing | np.isnan(values)))
    raise InvalidDataset(f"The column {name!r} holds {kind}{_way_out(kind)}")


def _way_out(kind: pa.DataType) -> str:
    if pa.types.is_temporal(kind):
        return ": make numbers of it, such as seconds since the first, or categories, such as the day of the week"
    if pa.types.is_decimal(kind):
        return ": make numbers of it, in float64"
    return ": a table has numbers, integers, booleans and text; convert it, or drop it"


def numbers_in_text(array: pa.Array, name: str, first_row: int) -> ColumnValues:
    """A column of text as numbers: integers where all are; an empty field is missing."""
    trimmed, missing = _trimmed(array)
    filled = pc.if_else(missing, "0", trimmed)
    absent = _or_none(missing.to_numpy(zero_copy_only=False))
    floats = _cast(filled, pa.float64())  # first: as int64 Arrow reads 0x1A, too
    if floats is None:
        doubtful = pc.indices_nonzero(pc.invert(pc.match_substring_regex(filled, NUMBER))).to_pylist()
        row = next(place for place in doubtful if _cast(filled.slice(place, 1), pa.float64()) is None)
        raise InvalidDataset(
            f"Row {first_row + row:,}, column {name!r}: {trimmed[row].as_py()[:SHOWN]!r} is no number; correct it, or "
            "leave the field empty, which is a missing value"
        )
    integers = _cast(filled, pa.int64())
    return ColumnValues((floats if integers is None else integers).to_numpy(), absent)


def booleans_in_text(array: pa.Array, name: str, first_row: int) -> ColumnValues:
    """A column of text as booleans: true, false, yes, no, 1, 0, in any case; an empty field is missing."""
    trimmed, missing = _trimmed(array)
    encoded = pc.utf8_lower(pc.if_else(missing, "0", trimmed)).dictionary_encode()
    meant = [WORDS.get(word) for word in encoded.dictionary.to_pylist()]
    numbers = encoded.indices.to_numpy()
    if None in meant:
        row = int(np.argmax(numbers == meant.index(None)))
        raise InvalidDataset(
            f"Row {first_row + row:,}, column {name!r}: {trimmed[row].as_py()[:SHOWN]!r} is no boolean; "
            f"{', '.join(WORDS)} are, and an empty field is a missing value"
        )
    return ColumnValues(np.array(meant, np.bool_)[numbers], _or_none(missing.to_numpy(zero_copy_only=False)))


def categories_in_text(array: pa.Array, name: str) -> ColumnValues:
    """A column of text as it is; an empty field is missing."""
    values = _texts(array, name)
    empty = [place for place, text in enumerate(values.texts or ()) if text == ""]
    missing = np.isin(values.values, empty) | ~values.present
    return ColumnValues(values.values, _or_none(missing), values.texts)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    try:
        return pc.cast(array, kind)
    except pa.ArrowInvalid:
        return None


def _trimmed(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The fields without spaces around them, and which are empty."""
    trimmed = pc.utf8_trim_whitespace(array).fill_null("")
    return trimmed, pc.equal(trimmed, "")


def _texts(array: pa.Array, name: str) -> ColumnValues:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    missing = encoded.is_null().to_numpy(zero_copy_only=False)
    try:
        texts = encoded.dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"The column {name!r} holds bytes that are no text in UTF-8: {error}") from error
    numbers = encoded.indices.fill_null(0).to_numpy().astype(np.int64)
    nowhere = [place for place, text in enumerate(texts) if text is None]
    return ColumnValues(numbers, _or_none(missing | np.isin(numbers, nowhere)), tuple(text or "" for text in texts))


def _or_none(
    missing: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]] | None":
    return missing if missing.any() else None
