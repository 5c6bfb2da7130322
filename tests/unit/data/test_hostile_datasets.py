"""Files that lie, break off or bite: each is refused in words that say what is wrong and what to do."""

import gzip
import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentmill.errors import InvalidDataset, LatentmillError, LimitExceeded, NotYet
from workers.readers import ReadLimits, read_dataset


@pytest.fixture
def refused(tmp_path: Path):
    """The words with which a file of these bytes is refused."""

    def refusal(data: bytes, filename: str, *, labels: tuple[bytes, str] | None = None, **choices) -> LatentmillError:
        path, out_dir = tmp_path / "upload", tmp_path / "out"
        path.write_bytes(data)
        out_dir.mkdir(exist_ok=True)
        beside = {}
        if labels is not None:
            (tmp_path / "labels").write_bytes(labels[0])
            beside = {"labels_path": tmp_path / "labels", "labels_filename": labels[1]}
        with pytest.raises((InvalidDataset, LimitExceeded, NotYet)) as caught:
            read_dataset(path, filename, out_dir=out_dir, **beside, **choices)
        return caught.value

    return refusal


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def header(shape: tuple, descr: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def idx(shape: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + data


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet(table: dict) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    return buffer.getvalue()


ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
WITH_NAN = np.where(np.arange(12).reshape(4, 3) == 7, np.nan, ROWS)
OBJECTS = np.array([{"a": 1}, None], dtype=object)
IDX = idx((10, 2, 2), bytes(40))


@pytest.mark.parametrize(
    ("data", "filename", "words"),
    [
        (b"", "a.npy", "'a.npy' is empty"),
        (b"hello", "a.dat", "no format that can be read .npz, npy, parquet, csv"),
        (pickle.dumps([1]), "a.pkl", "pickles are never loaded"),
        (npy(ROWS), "a.csv", "is csv by its name, but holds npy"),
        (IDX, "a.npy", "is npy by its name, but holds idx"),
        (b"plain text", "a.parquet", "though its name says parquet"),
        # npy
        (header((1000, 3)), "a.npy", "ends after 0 bytes where its header promises 12,000"),
        (npy(ROWS) + b"more", "a.npy", "has 52 bytes where its header promises 48"),
        (header((2**62, 3)), "a.npy", "at most 100,000,000 are read"),
        (header((-1, 3)), "a.npy", "negative size"),
        (header((0, 3)), "a.npy", "holds no values"),
        (header((3, 0)), "a.npy", "holds no values"),
        (header((5,)) + bytes(20), "a.npy", r"two axes or more.*reshape\(-1, 1\)"),
        (header((1, 2**25)), "a.npy", "at most 16,777,216 are read"),
        (header((4, 3), "|O"), "a.npy", "Python objects .a pickle."),
        (b"\x93NUMPY\x01\x00\x10\x00not a dictionary", "a.npy", "no valid .npy header"),
        (b"\x93NUMPY\x01\x00", "a.npy", "no valid .npy header"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "a.npy", "version"),
        (npy(np.array([["a", "b"]])), "a.npy", "rows are real numbers"),
        (npy(ROWS.astype(complex)), "a.npy", "rows are real numbers"),
        (npy(np.zeros(3, [("a", "f4")])), "a.npy", "structured array"),
        (npy(WITH_NAN), "a.npy", "Row 2 has the value nan .its value number 1.*fill or drop"),
        (npy(np.array([[1.0], [np.inf]])), "a.npy", "Row 1 has the value inf"),
        (npy(np.array([[1.0], [1e300]])), "a.npy", "Row 1 has the value 1e.300.*too large for float32"),
        (npy(np.array([[1], [2**24 + 1]])), "a.npy", "Row 1 has the value 16777217.*upload floats"),
        # idx
        (IDX[:-5], "a.idx", "ends after 35 bytes where its header promises 40; was it cut off"),
        (IDX + b"x", "a.idx", "has 41 bytes where its header promises 40"),
        (IDX[:9], "a.idx", "ends inside its header"),
        (gzip.compress(IDX, mtime=0)[:-9], "a.idx.gz", "ends too early; was it cut off"),
        (gzip.compress(IDX[:-5], mtime=0), "a.idx.gz", "ends after 35 bytes"),
        (gzip.compress(IDX + b"x", mtime=0), "a.idx.gz", "goes on after the 40 bytes"),
        (gzip.compress(IDX, mtime=0)[:20] + bytes(30), "a.idx.gz", "damaged|too early"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "a.csv.gz", "does not begin as IDX"),
        (idx((2**31, 2**31), b""), "a.idx", "IDX file ends after 0 bytes"),
        (idx((0, 5), b""), "a.idx", "holds no values"),
        # npz
        (npz(rows=ROWS)[:-30], "a.npz", "The archive"),
        (npz(x=ROWS, y=ROWS), "a.npz", "arrays x, y; call the one with the rows `rows`"),
        (npz(rows=OBJECTS), "a.npz", "'rows' holds Python objects"),
        (npz(rows=ROWS, labels=OBJECTS), "a.npz", "'labels' holds Python objects"),
        (npz(rows=ROWS, labels=np.arange(3)), "a.npz", "4 rows, but 3 labels in 'labels'"),
        (npz(rows=ROWS, labels=ROWS), "a.npz", "labels have one axis"),
        (
            zipped({"rows.npy": header((10, 3)) + bytes(60)}),
            "a.npz",
            "ends after 60 bytes where its header promises 120",
        ),
        (zipped({"rows.npy": b"nonsense"}), "a.npz", "no valid .npy header"),
        (zipped({"readme.txt": b"hello"}), "a.zip", "no .npy array"),
        (zipped({"1.png": b"x"}), "a.zip", "'1.png' is no picture that is read"),
        # csv
        (b"a,b\n", "a.csv", "no rows"),
        (b"\n", "a.csv", "empty line"),
        (b"a,b\n1,2\n3,x\n", "a.csv", "column 'b'.*'x'.*label_column"),
        (b"a,b\n1,2\n3,\n", "a.csv", "Row 1 has no number in column 'b'"),
        (b"a,b\n1,2\n3,nan\n", "a.csv", "Row 1 has no number in column 'b'"),
        (b"a,b\n1,2\n3\n", "a.csv", "cannot be read"),
        (b"a,a\n1,2\n", "a.csv", "same name"),
        (b"5.1,3.5,setosa\n4.9,3.0,setosa\n", "a.csv", "a header, or a row"),
        (b"0,1\n1,0\n", "a.csv", "a header or a row"),
        (b"a,b\n\xff\xfe,1\n", "a.csv", "In column 'a': line 2.*invalid value"),
        # parquet
        (b"PAR1 and no more", "a.parquet", "cannot be read"),
        (parquet({"a": [1, 2]})[:-20], "a.parquet", "cannot be read"),
        (parquet({"a": [1.0, None]}), "a.parquet", "Row 1 has no value in 'a'"),
        (
            parquet({"a": pa.array([1, 2], pa.timestamp("s"))}),
            "a.parquet",
            r"'a' holds timestamp\[ms\], not numbers; name",
        ),
        (parquet({"a": [[1.0], [1.0, 2.0]]}), "a.parquet", "Row 1 has 2 values, the others 1"),
        (parquet({"a": [[1.0]], "b": [2.0]}), "a.parquet", "column `rows`"),
        (parquet({"a": pa.array([], pa.float64())}), "a.parquet", "no rows"),
    ],
)
def test_refused_by_name(refused, data: bytes, filename: str, words: str) -> None:
    error = refused(data, filename)
    assert re.search(words, error.detail), error.detail


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((npy(np.arange(3)), "l.npy"), "4 rows, but 3 labels"),
        ((npy(np.arange(5)), "l.npy"), "4 rows, but 5 labels"),
        ((npy(ROWS), "l.npy"), "labels have one axis"),
        ((npy(np.array([1.0, 2.0, np.nan, 1.0])), "l.npy"), "label nan of row 2"),
        ((npy(np.array([1.0, 2.5, 1.0, 1.0])), "l.npy"), "label 2.5 of row 1"),
        ((npy(np.array(["a", "", "b", "c"])), "l.npy"), "label of row 1 is empty"),
        ((npy(np.array([b"a", b"\xff", b"b", b"c"])), "l.npy"), "not UTF-8"),
        ((npy(np.array(["a", "b", "x" * 200, "c"])), "l.npy"), "longer than 128"),
        ((npy(np.array([1, None, 2, 3], dtype=object)), "l.npy"), "Python objects"),
        ((idx((4, 1), bytes(4)), "l.idx"), "labels have one axis"),
        ((idx((4,), bytes(3)), "l.idx"), "ends after 3 bytes"),
        ((b"a,b\n1,2\n", "l.csv"), "2 columns; labels are one column"),
        ((b"a\nb\n", "l.csv"), "4 rows, but 2 labels"),
        ((b"", "l.csv"), "empty"),
        ((parquet({"a": [1, 2, 3, 4]}), "l.parquet"), "label_column"),
    ],
)
def test_labels_are_refused_by_name(refused, labels: tuple[bytes, str], words: str) -> None:
    error = refused(npy(ROWS), "a.npy", labels=labels)
    assert re.search(words, error.detail), error.detail


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npz(std=ROWS), "mean missing"),
        (npz(mean=ROWS, std=ROWS[:2]), "must be equal"),
        (npz(mean=ROWS, std=-ROWS), "Row 0 has a std below 0"),
        (npz(mean=ROWS, std=np.where(ROWS == 11, 1e7, ROWS)), "Row 3 has a std below 0 or above 1e.06"),
        (npz(mean=WITH_NAN, std=ROWS), "Row 2 has the value nan"),
        (npz(mean=ROWS[:, 0], std=ROWS[:, 0]), "two axes or more"),
    ],
)
def test_latents_are_refused_by_name(refused, data: bytes, words: str) -> None:
    error = refused(data, "a.npz", kind="latents")
    assert re.search(words, error.detail), error.detail


def test_latents_are_npz(refused) -> None:
    assert "npz with the arrays mean and std" in refused(npy(ROWS), "a.npy", kind="latents").detail


def test_label_column_must_exist_and_mean_something(refused) -> None:
    assert "no column 'y'; there are a, b" in refused(b"a,b\n1,2\n", "a.csv", label_column="y").detail
    assert "no column 'y'" in refused(parquet({"a": [1]}), "a.parquet", label_column="y").detail
    assert "no array 'y'" in refused(npz(rows=ROWS), "a.npz", label_column="y").detail
    assert "a file of their own" in refused(npy(ROWS), "a.npy", label_column="y").detail
    both = refused(b"a,b\n1,2\n", "a.csv", label_column="b", labels=(npy(np.arange(1)), "l.npy"))
    assert "names both" in both.detail


def test_a_bomb_is_refused_by_its_header(refused, tmp_path: Path) -> None:
    bomb = zipped({"rows.npy": header((2_000_000, 1000), "|u1") + bytes(10**6)})
    limits = ReadLimits(decompressed_bytes=10**9)
    error = refused(bomb, "a.npz", limits=limits)
    assert "promises 2,000,000,000" in error.detail
    honest = refused(npy(np.zeros((1000, 100), np.uint8)), "a.npy", limits=ReadLimits(decompressed_bytes=1000))
    assert honest.code == "limit_exceeded"
    assert "takes 100,000 bytes; at most 1,000" in honest.detail
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 10**4


def test_a_member_that_lies_about_its_size_is_refused(refused) -> None:
    data = bytearray(zipped({"rows.npy": header((10, 3)) + bytes(60)}, zipfile.ZIP_STORED))
    honest = len(header((10, 3))) + 60
    lie = struct.pack("<I", honest + 60)
    at = data.rindex(struct.pack("<I", honest))  # the uncompressed size in the directory at the end
    data[at : at + 4] = lie
    assert refused(bytes(data), "a.npz").code == "invalid_dataset"


def test_too_many_rows_columns_and_classes_are_refused(refused) -> None:
    frame = pd.DataFrame(np.ones((20, 6)), columns=list("abcdef")).to_csv(index=False).encode()
    assert "at most 10 are read" in refused(frame, "a.csv", limits=ReadLimits(rows=10)).detail
    assert "6 columns; at most 5" in refused(frame, "a.csv", limits=ReadLimits(columns=5)).detail
    table = parquet({name: [1.0] * 20 for name in "abcdef"})
    assert "at most 10 are read" in refused(table, "a.parquet", limits=ReadLimits(rows=10)).detail
    assert "6 columns; at most 5" in refused(table, "a.parquet", limits=ReadLimits(columns=5)).detail
    many = refused(npy(np.zeros((20, 1))), "a.npy", labels=(npy(np.arange(20)), "l.npy"), limits=ReadLimits(classes=9))
    assert "more than 9 classes" in many.detail
