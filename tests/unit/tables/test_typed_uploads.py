"""Uploaded tables of typed columns: what is kept of them, by a model's columns or by their own, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from latentmill import table_rows
from latentmill.errors import InvalidDataset, LimitExceeded, ModelMismatch
from latentmill.specs import DatasetColumn, TableRows, TensorRows
from tests.unit.tables.made_tables import tables
from workers.readers import DatasetContent, read_dataset
from workers.rows import dataset_rows

PEOPLE = pd.DataFrame(
    {
        "income": [1200.5, None, 800.25, 5000.0],
        "age": pd.array([31, 44, None, 18], dtype="Int64"),
        "zip": [89073, 53111, 89073, 10115],
        "owner": [True, False, True, True],
        "pets": pd.array([True, None, False, True], dtype="boolean"),
        "city": ["Ulm", None, "Bonn", "Ulm"],
    }
)
TABLE = table_rows(PEOPLE, columns={"zip": {"kind": "category"}})
MODEL = TableRows.model_validate(TABLE.rows)

Read = Callable[..., DatasetContent]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a DataFrame, or the text of a csv, as the worker reads an upload."""

    def reading(given: Any, ending: str = "csv", table: TableRows | None = None, **choices: Any) -> DatasetContent:
        path, out_dir = tmp_path / f"rows.{ending}", tmp_path / "out"
        out_dir.mkdir(exist_ok=True)
        if isinstance(given, str):
            path.write_text(given)
        elif isinstance(given, pa.Table):
            pq.write_table(given, path)
        elif ending == "csv":
            given.to_csv(path, index=False)
        else:
            given.to_parquet(path, index=False)
        return read_dataset(path, path.name, table=table, out_dir=out_dir, **choices)

    return reading


def kept(content: DatasetContent) -> np.ndarray:
    rows = np.load(content.rows_path)
    assert rows.dtype == content.dtype
    assert rows.shape == (content.rows, *content.row_shape)
    return rows


def encoded(content: DatasetContent, model: TableRows) -> np.ndarray:
    """The rows that were kept, as the model takes them."""
    rows = dataset_rows(kept(content), model, columns=content.columns, layout=None)
    assert len(rows) == content.rows
    return rows[0 : len(rows)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_by_the_columns_of_a_model_rows_are_what_it_was_trained_on(read: Read, ending: str) -> None:
    content = read(PEOPLE.iloc[:, ::-1], ending, MODEL)
    assert (content.rows, content.row_shape, content.dtype) == (4, (6,), "float64")
    assert content.columns == [DatasetColumn.of(column) for column in MODEL.columns]
    assert np.array_equal(encoded(content, MODEL), TABLE.encoded)


def test_the_same_rows_are_the_same_dataset_whatever_the_file_was(read: Read) -> None:
    one, two = read(PEOPLE, "csv", MODEL), read(PEOPLE.iloc[:, ::-1], "parquet", MODEL)
    assert one.digest == two.digest
    chosen = {"zip": {"kind": "category"}, "city": {"categories": ["Ulm", "Bonn"]}}
    other = TableRows.model_validate(table_rows(PEOPLE, columns=chosen).rows)
    assert read(PEOPLE, "csv", other).digest != one.digest  # numbers of categories stand for others


def test_without_a_model_a_csv_has_the_columns_that_it_looks_like(read: Read) -> None:
    content = read(PEOPLE)
    assert [(c.name, c.kind, c.missing) for c in content.columns or []] == [
        ("income", "number", True), ("age", "integer", True), ("zip", "integer", False), ("owner", "boolean", False),
        ("pets", "boolean", True), ("city", "category", True),
    ]  # fmt: skip
    assert content.columns[-1].categories == ("Bonn", "Ulm")
    np.testing.assert_array_equal(
        kept(content)[:2], [[1200.5, 31, 89073, 1, 1, 1], [np.nan, 44, 53111, 0, np.nan, np.nan]]
    )


def test_without_a_model_a_parquet_has_the_columns_of_its_types(read: Read) -> None:
    frame = PEOPLE.astype({"city": "category", "income": "float32", "zip": "uint16", "owner": "bool"})
    content = read(frame.assign(zip=[1, 2, 3, 4]), "parquet")
    assert [c.kind for c in content.columns or []] == ["number", "integer", "integer", "boolean", "boolean", "category"]
    assert [c.missing for c in content.columns or []] == [True, True, False, False, True, True]


def test_text_of_a_dictionary_is_a_category_and_nan_is_missing(read: Read) -> None:
    table = pa.table({
        "t": pa.array(["b", None, "a", "b"]).dictionary_encode(), "x": [1.0, float("nan"), 2.0, None],
        "n": pa.nulls(4),
    })  # fmt: skip
    content = read(table.drop_columns("n"), "parquet")
    np.testing.assert_array_equal(kept(content), [[1, 1], [np.nan, np.nan], [0, 2], [1, np.nan]])
    model = TableRows(columns=({"name": "n", "kind": "number", "missing": True},))
    assert np.isnan(kept(read(table.select(["n"]), "parquet", model))).all()


def test_tables_of_numbers_alone_stay_arrays_of_numbers(read: Read) -> None:
    numbers = PEOPLE[["zip", "owner"]].astype(float)
    for ending in ("csv", "parquet"):
        content = read(numbers, ending)
        assert (content.dtype, content.columns) == ("float32", ["zip", "owner"])


def test_a_model_says_what_text_means(read: Read) -> None:
    model = TableRows(
        columns=(
            {"name": "grade", "kind": "category", "categories": ("1", "2", "10+")},
            {"name": "count", "kind": "integer", "missing": True},
            {"name": "share", "kind": "number"},
            {"name": "yes", "kind": "boolean"},
        )
    )
    text = "share,yes,grade,count\n0.5,TRUE,1,3.0\n 2 ,no,10+,\n-1e3,1,2,-0\n1,Yes,1,9007199254740992\n"
    np.testing.assert_array_equal(
        kept(read(text, table=model)),
        [[0, 3, 0.5, 1], [2, np.nan, 2, 0], [1, 0, -1000, 1], [0, 2**53, 1, 1]],
    )


def test_one_column_of_text_may_miss_values_in_lines_without_anything(read: Read) -> None:
    content = read('t\n"a"\n\n"b"\n')
    assert content.rows == 3
    assert content.columns == [DatasetColumn(name="t", kind="category", categories=("a", "b"), missing=True)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_labels_are_taken_out_or_stay_where_the_model_has_them(read: Read, ending: str) -> None:
    beside = PEOPLE.assign(labels=["x", "y", "x", "x"])
    for choices in ({}, {"label_column": "labels"}):
        content = read(beside, ending, MODEL, **choices)
        assert content.labels == {"x": 3, "y": 1}
        assert content.row_shape == (6,)
    content = read(PEOPLE, ending, MODEL, label_column="owner" if ending == "parquet" else "zip")
    assert sum((content.labels or {}).values()) == 4
    assert content.row_shape == (6,)
    model = TableRows.model_validate(table_rows(beside[["labels", "owner"]]).rows)
    content = read(beside[["labels", "owner"]], ending, model)
    assert content.labels is None
    assert content.row_shape == (2,)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"city": ["Ulm", "Rom", "Ulm", "Ulm"]}, r"Row 1, column 'city': 'Rom' is no category.*it knows 'Bonn', 'Ulm'"),
        ({"income": [1200.5, 1, 2, 3]}, r"Row 1, column 'income': 1.* lies below the column's minimum 800\.25"),
        ({"age": [31, 44, 45, 18]}, r"Row 2, column 'age': 45 lies above the column's maximum 44"),
        ({"age": [31, 30.5, 44, 18]}, r"Row 1, column 'age': 30\.5 is not whole"),
        ({"zip": [89073, None, 89073, 10115]}, r"'zip'"),
        (
            {"owner": [True, None, True, True]},
            r"Row 1 has no value in column 'owner', which the model knows no missing",
        ),
        ({"income": [float("inf"), 900, 900, 900]}, r"Row 0, column 'income': inf is not a finite number"),
        (
            {"more": [1, 2, 3, 4]},
            r"The file's column 'more' is none of the model's: leave it out, or name it as label_",
        ),
    ],
)
def test_what_the_model_cannot_encode_is_refused_with_row_and_column(
    read: Read, ending: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidDataset) as caught:
        read(PEOPLE.assign(**change), ending, MODEL)
    assert re.search(words, caught.value.detail), caught.value.detail


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_that_is_not_there_is_refused(read: Read, ending: str) -> None:
    with pytest.raises(InvalidDataset, match=r"model's column 'age' is not in the file; there are income, zip, owner"):
        read(PEOPLE.drop(columns="age"), ending, MODEL)


def test_rows_of_a_later_block_are_counted_on(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.concat([PEOPLE] * 500, ignore_index=True)
    frame.loc[1_501, "city"] = "Rom"
    monkeypatch.setattr("workers.readers.source.BLOCK_BYTES", 2**12)
    monkeypatch.setattr("workers.readers.csv_file.BLOCK_BYTES", 2**12)
    for ending in ("csv", "parquet"):
        with pytest.raises(InvalidDataset, match="Row 1,501, column 'city'"):
            read(frame, ending, MODEL)
        assert read(frame, ending).rows == 2_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\nx,1\ny,z\n", r"Row 1, column 'b': 'z' is no number; correct it, or leave the field empty"),
        ("a,b\nx,1\ny,nan\n", r"Row 1, column 'b': nan is not a finite number"),
        ("a,b\nx,\ny,\n", r"'b' has no values at all; leave it out"),
        ("a,b\n" + "".join(f"v{i},1\n" for i in range(1001)), r"'a' has more than 1,000 different values"),
        (f"a,b\n{'v' * 300},1\nw,2\n", r"'a' has a value of 300 characters"),
        ("a,a\nx,y\n", "Two columns have the same name"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(read: Read, text: str, words: str) -> None:
    with pytest.raises((InvalidDataset, LimitExceeded)) as caught:
        read(text)
    assert re.search(words, caught.value.detail), caught.value.detail


def test_a_csv_for_a_model_is_refused_by_word(read: Read) -> None:
    model = TableRows(columns=({"name": "yes", "kind": "boolean"}, {"name": "x", "kind": "number"}))
    with pytest.raises(InvalidDataset, match="Row 1, column 'yes': 'maybe' is no boolean; true, yes, 1, false, no, 0"):
        read("yes,x\nyes,1\nmaybe,2\n", table=model)
    with pytest.raises(InvalidDataset, match="Row 0, column 'x': '0x1A' is no number"):
        read("yes,x\nyes,0x1A\n", table=model)


def test_types_that_a_table_has_not_are_refused(read: Read) -> None:
    when = pa.array([1, 2], pa.timestamp("s"))
    with pytest.raises(InvalidDataset, match=r"'when' holds timestamp\[ms\]: make numbers of it"):
        read(pa.table({"t": ["a", "b"], "when": when}), "parquet")
    with pytest.raises(InvalidDataset, match=r"'t' holds text, but the model's column is of kind number"):
        read(pa.table({"t": ["a", "b"]}), "parquet", TableRows(columns=({"name": "t", "kind": "number"},)))


def test_rows_that_are_encoded_already_need_the_model_width(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, rows=TABLE.encoded)
    content = read_dataset(path, path.name, table=MODEL, out_dir=tmp_path)
    assert content.columns is None
    assert np.array_equal(np.load(content.rows_path), TABLE.encoded)
    np.savez(path, rows=TABLE.encoded[:, 1:])
    with pytest.raises(InvalidDataset, match=r"The rows have 12 values, the model's columns take 13; upload typed"):
        read_dataset(path, path.name, table=MODEL, out_dir=tmp_path)


def test_typed_rows_serve_another_model_of_the_same_columns(read: Read) -> None:
    rows = read(PEOPLE.iloc[:, ::-1], "parquet")
    other = table_rows(PEOPLE, columns={"zip": {"kind": "category"}, "city": {"categories": ["Ulm", "Kiel", "Bonn"]}})
    model = TableRows.model_validate(other.rows)
    assert np.array_equal(encoded(rows, model), other.encoded)
    numbers = dataset_rows(kept(rows), model, columns=rows.columns, layout=None)[np.array([2, 0])]
    assert np.array_equal(numbers, other.encoded[[2, 0]])


def test_numbers_with_names_are_typed_by_the_model_and_others_are_encoded_already(read: Read) -> None:
    frame = pd.DataFrame({"n": [1, 2, 5], "yes": [0, 1, 1]})
    table = table_rows(frame, columns={"yes": {"kind": "boolean"}})
    model = TableRows.model_validate(table.rows)
    assert np.array_equal(encoded(read(frame[["yes", "n"]]), model), table.encoded)
    bare = pd.DataFrame(table.encoded).to_csv(header=False, index=False)
    assert np.array_equal(encoded(read(bare), model), table.encoded)


def test_typed_rows_that_a_model_cannot_take_are_refused_by_row(read: Read) -> None:
    content = read(PEOPLE, "parquet")
    narrow = TableRows.model_validate(table_rows(PEOPLE.iloc[[0, 1, 2]], columns={"zip": {"kind": "category"}}).rows)
    rows = dataset_rows(kept(content), narrow, columns=content.columns, layout=None)
    assert len(rows[0:3]) == 3
    with pytest.raises(
        InvalidDataset, match=r"Row 3, column 'income': 5000\.0 lies above the column's maximum 1200\.5"
    ):
        rows[3:4]
    fewer = TableRows.model_validate(table_rows(PEOPLE[["age"]]).rows)
    with pytest.raises(ModelMismatch, match="'income' is none of the model's"):
        dataset_rows(kept(content), fewer, columns=content.columns, layout=None)
    with pytest.raises(ModelMismatch, match="typed columns, the model's rows are of kind tensor"):
        dataset_rows(kept(content), TensorRows(shape=(6,)), columns=content.columns, layout=None)


def test_long_text_is_quoted_in_short(read: Read) -> None:
    table = pa.table(
        {name: [("x" * 10**6 if name == "city" else value) for value in PEOPLE[name].tolist()] for name in ("city",)}
    )
    model = TableRows.model_validate(table_rows(PEOPLE[["city"]]).rows)
    with pytest.raises(InvalidDataset) as caught:
        read(table, "parquet", model)
    assert len(caught.value.detail) < 400


@given(tables())
@settings(max_examples=15, deadline=None)
def test_what_is_uploaded_is_encoded_as_in_training(frame: pd.DataFrame) -> None:
    table = table_rows(frame)
    model = TableRows.model_validate(table.rows)
    with TemporaryDirectory() as folder:
        for ending, write in (("csv", frame.to_csv), ("parquet", frame.to_parquet)):
            path = Path(folder, f"rows.{ending}")
            write(path, index=False)
            content = read_dataset(path, path.name, table=model, out_dir=Path(folder))
            assert np.array_equal(encoded(content, model), table.encoded)
