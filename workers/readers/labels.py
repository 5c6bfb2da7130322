"""Labels as class numbers: whatever type they came in, a class is a text, and its number its place among the sorted."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset, LimitExceeded
from workers.readers.source import ReadLimits, check_rows
from workers.readers.store import ArrayFile

MAX_CLASS_LENGTH = 128


class LabelFile:
    """labels.npy, int32 (N,), filled as labels arrive; `digest` is that of its finished values.

    Classes are numbered as they are first met; `finish` sorts them (as numbers where all are integers) and numbers the
    file again.
    """

    def __init__(self, path: Path, limits: ReadLimits) -> None:
        self.path = path
        self._limits = limits
        self._file = ArrayFile(path, np.dtype(np.int32), ())
        self.digest = ""
        self._numbers: dict[str, int] = {}

    @property
    def rows(self) -> int:
        return self._file.rows

    def write(self, values: NDArray[Any]) -> None:
        """The next labels (n,): integers, booleans or text."""
        distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        if len(distinct) > self._limits.classes:
            raise LimitExceeded(f"The labels have more than {self._limits.classes:,} classes; are they labels?")
        numbers = np.empty(len(distinct), np.int32)
        for i in range(len(distinct)):
            value = _value(distinct, i, self.rows + int(first[i]))
            text = class_text(value, self.rows + int(first[i]))
            numbers[i] = self._numbers.setdefault(text, len(self._numbers))
        if len(self._numbers) > self._limits.classes:
            raise LimitExceeded(f"The labels have more than {self._limits.classes:,} classes; are they labels?")
        self._file.write(numbers[inverse])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write_all(self, blocks: Iterable[NDArray[Any]]) -> None:
        """All labels of a file of their own."""
        for values in blocks:
            self.write(values)
            check_rows(self.rows, self._limits)

    def finish(self) -> dict[str, int]:
        """How many rows each class has, in the order of the classes' numbers."""
        self._file.finish()
        classes = sorted_classes(self._numbers)
        place = {text: number for number, text in enumerate(classes)}
        renumber = np.array([place[text] for text in self._numbers], np.int32)
        counts = np.zeros(len(classes), np.int64)
        digest = hashlib.sha256()
        stored = np.load(self.path, mmap_mode="r+", allow_pickle=False)
        for first in range(0, len(stored), 2**20):
            block = renumber[stored[first : first + 2**20]]
            stored[first : first + 2**20] = block
            counts += np.bincount(block, minlength=len(classes))
            digest.update(block.data)
        stored.flush()
        self.digest = digest.hexdigest()
        return dict(zip(classes, counts.tolist(), strict=True))


def one_axis(shape: tuple[int, ...], what: str) -> None:
    """Refuses labels of a shape other than (N,)."""
    if len(shape) != 1:
        raise InvalidDataset(
            f"{what} have the shape {shape}; labels have one axis (ravel() drops axes of 1, argmax(axis=1) one-hot)"
        )


def fixed_width(texts: Sequence[str], row_of: Callable[[int], int]) -> NDArray[Any]:
    """Texts as an array. All take the width of the longest, so one that is too long for a class is refused before."""
    for i, text in enumerate(texts):
        _check_length(text, row_of(i))
    return np.array(texts or [""], dtype=np.str_)


def _value(distinct: NDArray[Any], place: int, row: int) -> Any:
    try:
        return distinct[place]
    except ValueError as error:  # numbers in an array of text that stand for no character
        raise InvalidDataset(f"The label of row {row:,} is no text: {error}") from error


def sorted_classes(classes: Iterable[str]) -> list[str]:
    """Classes in order: by value where every one is an integer, else as text."""
    texts = list(classes)
    if all(text.removeprefix("-").isdecimal() for text in texts):
        return sorted(texts, key=lambda text: (int(text), text))
    return sorted(texts)


def class_text(value: Any, row: int) -> str:
    """The class of one label: text as it is, integers in decimal digits, whole floats as integers."""
    where = f" of row {row:,}"
    if isinstance(value, np.floating | float):
        if not np.isfinite(value) or value != int(value):
            raise InvalidDataset(f"The label {value}{where} is not a class; labels are integers or text")
        value = int(value)
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"The label {value!r}{where} is not UTF-8 text") from error
    if not text.strip():
        raise InvalidDataset(f"The label{where} is empty; every row needs one, or none has one")
    if not text.isprintable() and not _is_unicode(text):
        raise InvalidDataset(f"The label{where} is not Unicode text")
    _check_length(text, row)
    return text


def _check_length(text: str, row: int) -> None:
    if len(text) > MAX_CLASS_LENGTH:
        raise InvalidDataset(f"The label {text[:40]!r}... of row {row:,} is longer than {MAX_CLASS_LENGTH} characters")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
