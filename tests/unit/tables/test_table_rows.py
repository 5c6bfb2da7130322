"""`table_rows`: what is proposed, that it comes back, and what is refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings

from latentmill import table_rows
from latentmill.errors import InvalidDataset
from latentmill.specs import TableRows
from tests.unit.tables.made_tables import tables
from workers.rows import codec

EVERYTHING = pd.DataFrame(
    {
        "income": [1200.5, np.nan, 800.25, 5000.0],
        "age": pd.array([31, 44, None, 18], dtype="Int64"),
        "rooms": [1, 2, 3, 4],
        "owner": [True, False, True, True],
        "pets": pd.array([True, None, False, True], dtype="boolean"),
        "city": ["Ulm", None, "Bonn", "Ulm"],
        "size": pd.Categorical(["S", "L", "M", "S"], categories=["S", "M", "L", "XL"]),
        "odd": pd.Series([True, None, False, True], dtype=object),
    }
)


def test_kinds_bounds_categories_and_missing_values_are_those_of_the_rows() -> None:
    columns = {column["name"]: column for column in table_rows(EVERYTHING).rows["columns"]}
    assert {name: column["kind"] for name, column in columns.items()} == {
        "income": "number", "age": "integer", "rooms": "integer", "owner": "boolean", "pets": "boolean",
        "city": "category", "size": "category", "odd": "boolean",
    }  # fmt: skip
    assert [name for name, column in columns.items() if column["missing"]] == ["income", "age", "pets", "city", "odd"]
    assert (columns["income"]["minimum"], columns["income"]["maximum"]) == (800.25, 5000.0)
    assert columns["city"]["categories"] == ["Bonn", "Ulm"]
    assert columns["size"]["categories"] == ["S", "M", "L", "XL"]
    present = EVERYTHING["income"].dropna().to_numpy()
    assert (columns["income"]["mean"], columns["income"]["std"]) == (present.mean(), present.std())


def test_a_bundle_delivers_what_was_encoded() -> None:
    table = table_rows(EVERYTHING)
    assert table.encoded.shape == (4, table.width)
    assert table.encoded.dtype == np.float32
    delivered = codec(TableRows.model_validate(table.rows)).delivered(torch.from_numpy(table.encoded))
    assert delivered.values["rooms"].tolist() == [1, 2, 3, 4]
    assert delivered.missing["city"].tolist() == [False, True, False, False]
    assert delivered.values["income"][[0, 2, 3]] == pytest.approx([1200.5, 800.25, 5000.0])


def test_slices_and_numeric_say_which_value_is_whose() -> None:
    table = table_rows(EVERYTHING[["city", "income", "owner", "age"]])
    assert table.slices == {"city": slice(0, 3), "income": slice(3, 5), "owner": slice(5, 6), "age": slice(6, 8)}
    assert table.numeric.tolist() == [False] * 3 + [True, False] + [False] + [True, False]


def test_missing_values_are_zeros_and_a_one() -> None:
    table = table_rows(EVERYTHING[["income", "city", "pets"]])
    assert table.width == 2 + 3 + 2
    assert table.encoded[1].tolist() == [0, 1, 0, 0, 1, 0, 1]
    assert table.encoded[0, 1:].tolist() == [0, 0, 1, 0, 1, 0]


def test_decoded_columns_have_types_of_their_own_and_na() -> None:
    table = table_rows(EVERYTHING)
    frame = table.decode(table.encoded)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "income": "Float64", "age": "Int64", "rooms": "int64", "owner": "bool", "pets": "boolean",
        "city": "string", "size": "string", "odd": "boolean",
    }  # fmt: skip
    assert all(frame.loc[1, name] is pd.NA for name in ("income", "pets", "city", "odd"))
    assert frame.loc[2, "age"] is pd.NA


def test_bounds_and_rounding_hold_whatever_a_decoder_gives() -> None:
    table = table_rows(EVERYTHING, columns={"rooms": {"minimum": 1, "maximum": None}})
    frame = table.decode(np.random.default_rng(0).normal(0, 30, (500, table.width)))
    assert frame["income"].dropna().between(800.25, 5000).all()
    assert frame["age"].dropna().between(18, 44).all()
    assert frame["rooms"].min() == 1
    assert frame["rooms"].max() > 4


def test_other_rows_are_encoded_by_name_in_any_order_and_of_any_lossless_type() -> None:
    table = table_rows(EVERYTHING)
    other = EVERYTHING.iloc[[2, 0], ::-1].copy()
    other["rooms"] = other["rooms"].astype(float)
    other["size"] = other["size"].astype(str)
    other["owner"] = other["owner"].astype("int8")
    assert np.array_equal(table.encode(other), table.encoded[[2, 0]])


def test_a_table_of_arrow_keeps_its_types() -> None:
    arrow = pa.table({"n": pa.array([1, None, 3], pa.int32()), "t": ["a", "b", None], "x": [0.5, None, 2.0]})
    table = table_rows(arrow)
    assert [column["kind"] for column in table.rows["columns"]] == ["integer", "category", "number"]
    assert table.decode(table.encoded)["n"].tolist() == [1, pd.NA, 3]


def test_choices_come_before_what_is_seen() -> None:
    frame = pd.DataFrame(
        {"zip": [89073, 53111, 89073], "flag": [0, 1, 1], "n": [1.0, 2.0, np.nan], "t": ["a", "b", "a"]}
    )
    chosen = {
        "zip": {"kind": "category"}, "flag": {"kind": "boolean"}, "n": {"kind": "integer", "maximum": 9},
        "t": {"categories": ["b", "a", "c"], "missing": True},
    }  # fmt: skip
    table = table_rows(frame, columns=chosen)
    zip_code, flag, n, t = table.rows["columns"]
    assert zip_code["categories"] == ["53111", "89073"]
    assert flag["kind"] == "boolean"
    assert (n["kind"], n["minimum"], n["maximum"]) == ("integer", 1.0, 9)
    assert (t["categories"], t["missing"]) == (["b", "a", "c"], True)
    assert table.decode(table.encoded)["zip"].tolist() == ["89073", "53111", "89073"]
    assert table.encode(frame.assign(n=9, t=None)).shape == (3, table.width)


def test_it_reads_like_a_table() -> None:
    text = repr(table_rows(EVERYTHING))
    assert text.splitlines()[0] == "table of 4 rows, 17 values each"
    assert "income  number    800.25 to 5000  yes      2" in text
    assert "size    category  S, M, L, XL     no       4" in text


def test_numbers_that_are_all_whole_are_pointed_at() -> None:
    text = repr(table_rows(pd.DataFrame({"age": [31, None, 44], "height": [1.7, 1.8, None]})))
    assert "age     number, all whole  31 to 44" in text
    assert "height  number             1.7 to 1.8" in text


REFUSED = {
    "when": (pd.to_datetime(["2020-01-01", "2020-01-02"]), r"'when' holds datetime64.*total_seconds.*day_name"),
    "took": (pd.to_timedelta([1, 2], unit="h"), r"'took' holds timedelta64.*dt\.total_seconds"),
    "mixed": ([1, "a"], r"'mixed' holds objects of type int, str: convert it to one kind"),
    "same": ([3, 3], r"'same' is 3 in every row: drop it"),
    "only": (["x", "x"], r"'only' is 'x' in every row"),
    "yes": ([True, True], r"'yes' is True in every row"),
    "nothing": ([None, None], r"'nothing' has no values at all"),
    "far": ([1.0, np.inf], r"Row 1, column 'far': inf is not a finite number"),
    "id": ([2**53 + 1, 1], r"'id' holds 9007199254740993, beyond 2\^53.*drop it if it only names rows"),
    "blank": (["", "a"], r"'blank' has '' for a category: make it missing"),
    "complex": ([1j, 2j], r"'complex' holds complex128: a table has numbers, integers, booleans and categories"),
    "huge": ([1e200, 0.0], r"'huge' lies in \[0.0, 1e\+200\]: scale it"),
    "bytes": ([b"a", b"b"], r"'bytes' holds objects of type bytes: a table has"),
    "half": (pd.Series(["\ud800", "a"], dtype=object), r"'half' has the category .* no text in UTF-8"),
    "grades": (pd.Categorical([1.5, 2.0]), r"'grades' has the category 1.5 of type float: categories are text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_model_cannot_learn_is_refused_with_the_way_out(name: str) -> None:
    values, message = REFUSED[name]
    with pytest.raises(InvalidDataset, match=message):
        table_rows(pd.DataFrame({name: values, "beside": [1, 2]}))


def test_every_column_that_cannot_be_used_is_named_at_once() -> None:
    frame = pd.DataFrame({name: values for name, (values, _) in REFUSED.items()})
    with pytest.raises(InvalidDataset) as caught:
        table_rows(frame)
    assert caught.value.detail.startswith(f"{len(REFUSED)} columns cannot be used as they are:\n- Column 'when'")
    assert all(f"olumn {name!r}" in caught.value.detail for name in REFUSED)


def test_too_many_categories_are_refused_as_perhaps_names_of_rows() -> None:
    frame = pd.DataFrame({"person": [f"p{i}" for i in range(300)], "x": range(300)})
    with pytest.raises(InvalidDataset, match=r"'person' has 300 categories, at most 256.*identifier.*group the rare"):
        table_rows(frame)
    assert table_rows(frame, max_categories=300).width == 301


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": []}), r"0 rows and 1 columns: it is empty"),
        (pd.DataFrame(index=[0, 1]), r"2 rows and 0 columns: it is empty"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"Two columns have the name 'a': rename or drop one"),
        (pd.DataFrame([[1, 2]]), r"The column 0 needs a name.*columns\.map\(str\)"),
        (np.zeros((2, 2)), r"not numpy\.ndarray: convert it"),
    ],
)
def test_tables_that_are_none_are_refused(table: object, message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        table_rows(table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"no": {}}, "chooses for 'no'"),
        ({"city": {"knd": "number"}}, "'knd' cannot be chosen; categories, kind, maximum, minimum, missing can"),
        ({"city": {"kind": "text"}}, "kind is one of number, integer, category, boolean, not 'text'"),
        ({"city": {"kind": "number"}}, "'city' holds text, but the model's column is of kind number"),
        ({"income": {"kind": "integer"}}, r"Row 0, column 'income': 1200\.5 is not whole"),
        ({"income": {"kind": "category"}}, "'income' cannot be of kind category: it holds numbers"),
        ({"rooms": {"kind": "boolean"}}, "Row 1, column 'rooms': 2 is neither 0 nor 1"),
        ({"rooms": {"maximum": 3}}, "Row 3, column 'rooms': 4 lies above the column's maximum 3"),
        ({"city": {"categories": ["Ulm", "Kiel"]}}, "Row 2, column 'city': 'Bonn' is no category.*'Ulm', 'Kiel'"),
        ({"city": {"missing": False}}, "Row 1 has no value in column 'city'"),
        ({"income": {"minimum": float("nan")}}, "'income'.*finite"),
    ],
)
def test_choices_that_the_rows_contradict_are_refused(columns: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        table_rows(EVERYTHING, columns=columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rooms": [0, 1, 1, 1]}, r"Row 0, column 'rooms': 0 lies below the column's minimum 1.0; correct it"),
        ({"city": ["Ulm", "Rom", "Ulm", "Ulm"]}, r"Row 1, column 'city': 'Rom' is no category of the column"),
        ({"owner": [True, None, True, True]}, r"Row 1 has no value in column 'owner'"),
        ({"owner": ["yes", "no", "no", "no"]}, r"'owner' holds text, but the model's column is of kind boolean"),
        ({"more": 1}, r"The column 'more' is none of the table's: drop it"),
    ],
)
def test_other_rows_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidDataset, match=message):
        table_rows(EVERYTHING).encode(EVERYTHING.assign(**change))


def test_rows_without_a_column_are_refused() -> None:
    with pytest.raises(InvalidDataset, match="The column 'rooms' is not there"):
        table_rows(EVERYTHING).encode(EVERYTHING.drop(columns="rooms"))


@given(tables())
@settings(max_examples=25, deadline=None)
def test_what_is_encoded_comes_back(frame: pd.DataFrame) -> None:
    table = table_rows(frame)
    back = table.decode(table.encode(frame.iloc[:, ::-1]))
    assert list(back.columns) == list(frame.columns)
    for name in frame.columns:
        assert back[name].isna().tolist() == frame[name].isna().tolist()
        given_values, found = frame[name].dropna(), back[name].dropna()
        if name.startswith("number"):
            spread = float(given_values.max() - given_values.min())
            np.testing.assert_allclose(found.astype(float), given_values.astype(float), rtol=1e-12, atol=2e-7 * spread)
        else:
            assert found.tolist() == given_values.tolist()
