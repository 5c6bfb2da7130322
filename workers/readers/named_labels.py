"""Labels of images by their names: a csv of two columns, the path of an image and its label, in any order."""

from collections.abc import Iterator, Sequence
from functools import partial
from operator import add
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from latentmill.errors import InvalidDataset
from workers.readers.csv_file import batches, first_line
from workers.readers.labels import fixed_width

BLOCK_ROWS = 2**16
COLUMNS = ["image", "label"]


def names_images(path: Path) -> bool:
    """Whether the csv has two columns, as one of names and labels has."""
    return len(first_line(path)) == len(COLUMNS)


def named_labels(path: Path, names: Sequence[str], shared: str) -> Iterator[NDArray[Any]]:
    """The labels of the images `names`, in their order; each once in the csv, with or without the folder `shared`.

    The first line is a header where it names no image.
    """
    rows = {name: row for row, name in enumerate(names)}
    rows |= {name.removeprefix(shared): row for row, name in enumerate(names)}
    header = first_line(path)[0] not in rows
    labels: list[str | None] = [None] * len(names)
    line = 1 + header
    for batch in batches(path, COLUMNS, dict.fromkeys(COLUMNS, pa.string()), skip=int(header)):
        for name, label in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row = rows.get(name.strip())
            if row is None:
                raise InvalidDataset(f"Line {line:,} of the labels names {name[:200]!r}, which is none of the images")
            if labels[row] is not None:
                raise InvalidDataset(f"Line {line:,} of the labels names {name[:200]!r} a second time")
            labels[row] = label
            line += 1
    given = [label for label in labels if label is not None]
    if len(given) < len(names):
        raise InvalidDataset(f"{names[labels.index(None)]!r} has no label: the file of labels does not name it")
    for first in range(0, len(given), BLOCK_ROWS):
        yield fixed_width(given[first : first + BLOCK_ROWS], partial(add, first))
