"""Archives, labels and lines that promise one thing and hold another: refused in words, nothing written elsewhere."""

import gzip
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentmill.errors import InvalidDataset, LatentmillError, LimitExceeded
from workers.readers import DatasetContent, ReadLimits, read_dataset

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
MIB = 2**20


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., DatasetContent]:
    """Reads a file of these bytes; whatever comes of it, nothing lies outside of the folder that was given."""

    def reading(data: bytes, filename: str, *, labels: tuple[bytes, str] | None = None, **choices) -> DatasetContent:
        folder = tmp_path / "a" / "b" / "out"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "upload").write_bytes(data)
        beside = {}
        if labels is not None:
            (tmp_path / "labels").write_bytes(labels[0])
            beside = {"labels_path": tmp_path / "labels", "labels_filename": labels[1]}
        try:
            return read_dataset(tmp_path / "upload", filename, out_dir=folder, **beside, **choices)
        finally:
            assert {path.name for path in tmp_path.iterdir()} <= {"a", "upload", "labels"}
            assert {path.name for path in (tmp_path / "a").rglob("*")} <= {"b", "out", "rows.npy", "labels.npy"}

    return reading


@pytest.fixture
def refused(read) -> Callable[..., LatentmillError]:
    def refusal(*given, **choices) -> LatentmillError:
        with pytest.raises((InvalidDataset, LimitExceeded)) as caught:
            read(*given, **choices)
        return caught.value

    return refusal


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape: tuple, descr: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(buffer.getvalue())


def in_directory(data: bytearray, offset: int, code: str, value: int, *, entry: int = -1) -> bytes:
    """The archive with another number at this place of one entry of its central directory."""
    at = [found.start() for found in re.finditer(b"PK\x01\x02", data)][entry] + offset
    data[at : at + struct.calcsize(code)] = struct.pack(code, value)
    return bytes(data)


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


HONEST = ("rows.npy", npy(ROWS))
FLAGS, METHOD, SIZE, PACKED_SIZE, LOCAL_AT = (8, "<H"), (10, "<H"), (24, "<I"), (20, "<I"), (42, "<I")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (in_directory(zipped(HONEST), *FLAGS, 1), "'rows.npy' in the archive is encrypted"),
        (in_directory(zipped(HONEST), *METHOD, 99), "compression method 99"),
        (bytes(zipped(HONEST, method=zipfile.ZIP_BZIP2)), "compression method 12; numpy.savez stores"),
        (bytes(zipped(HONEST, method=zipfile.ZIP_LZMA)), "compression method 14"),
        (in_directory(zipped(HONEST), *SIZE, 10**9), "has 999,999,872 bytes where its header promises 48"),
        (in_directory(zipped(HONEST), *SIZE, 100), "damaged|promises 48"),
        (in_directory(zipped(HONEST), *PACKED_SIZE, 7), "damaged|promises 48|no valid"),
        (in_directory(zipped(HONEST), *LOCAL_AT, 2**31), "damaged"),
        # two members that share their bytes
        (in_directory(zipped(("labels.npy", npy(np.arange(4))), HONEST), *LOCAL_AT, 0), "damaged"),
        # its directory begins before the file does
        (b"PK\x03\x04" + bytes(zipped(HONEST))[60:], "damaged"),
        (bytes(zipped(("rows.npy", bytes(zipped(HONEST))))), "no valid .npy header"),
        (bytes(zipped((link("rows.npy"), b"/etc/passwd"))), "no valid .npy header"),
        (bytes(zipped(("rows.npy/", b""), HONEST))[:-30], "damaged"),
        (bytes(zipped(*[(f"{number}.npy", b"") for number in range(1001)])), "at most 1,000 are read"),
        (bytes(zipped(*[(f"{number:0120}.npy", b"") for number in range(30_000)])), "directory is larger than 4 MiB"),
    ],
)
def test_an_archive_that_lies_is_refused(refused, data: bytes, words: str) -> None:
    error = refused(data, "a.npz")
    assert re.search(words, error.detail), error.detail


@pytest.mark.parametrize("name", ["../../rows.npy", "/etc/rows.npy", "a/../../../rows.npy", "C:\\rows.npy"])
def test_names_in_an_archive_are_no_paths(read, name: str) -> None:
    assert read(bytes(zipped((name, npy(ROWS)))), "a.npz").rows == 4


def test_inflating_ends_where_the_header_says(refused) -> None:
    bomb = header((10, 3)) + bytes(120)
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compress.compress(bomb) + b"".join(compress.compress(bytes(MIB)) for _ in range(64)) + compress.flush()
    data = zipped(("rows.npy", packed), method=zipfile.ZIP_STORED)
    data[8:10] = struct.pack("<H", 8)  # the local header: deflated after all
    data = bytearray(in_directory(data, *METHOD, 8))
    assert len(data) < MIB // 8
    assert refused(in_directory(data, *SIZE, len(bomb)), "a.npz").code == "invalid_dataset"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"(" * 5000, "no valid .npy header"),
        (b"{" * 9000, "no valid .npy header"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3)} + __import__('os').system('false')", "no valid"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3)}", "which no array has|no valid"),
        (b"{'descr': '<f4', 'fortran_order': False, 'shape': (4.0, 3)}", "no valid|which no array has"),
        (b"{'descr': [('a', '<f4', (2147483647,))], 'fortran_order': False, 'shape': (4,)}", "structured|no valid"),
        (b" " * 20_000, "20,001 bytes; at most 10,000"),
        (b"'" + b"\xff" * 50, "no valid .npy header"),
    ],
)
def test_a_header_of_npy_is_text_that_is_never_run(refused, text: bytes, words: str) -> None:
    data = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text) + 1) + text + b"\n" + bytes(48)
    error = refused(data, "a.npy")
    assert re.search(words, error.detail), error.detail


BROKEN_TEXT = np.array([0x110000, 0x61, 0xD800, 0x62], "<u4").view("<U1")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((b"\n".join([b"a", b"x" * MIB, b"b", b"c"]), "l.csv"), "of row 1 is longer than 128"),
        ((npy(BROKEN_TEXT), "l.npy"), "is no text|not Unicode"),
        ((npy(np.array(["a", "b", "\ud800", "c"])), "l.npy"), "of row 2 is not Unicode"),
        ((header((4,), "<U500000") + bytes(8_000_000), "l.npy"), "labels are integers or text"),
        ((npy(np.zeros(4, "M8[s]")), "l.npy"), "labels are integers or text"),
        ((npy(np.zeros(4, [("a", "i4")])), "l.npy"), "labels are integers or text"),
        ((npy(np.zeros(4, "V4")), "l.npy"), "labels are integers or text"),
        ((npy(np.array([1, 2, np.inf, 1])), "l.npy"), "label inf of row 2"),
    ],
)
def test_labels_that_are_none_are_refused(refused, labels: tuple[bytes, str], words: str) -> None:
    error = refused(npy(ROWS), "a.npy", labels=labels)
    assert re.search(words, error.detail), error.detail


def test_a_column_of_labels_is_bounded_too(refused) -> None:
    long = pa.table({"a": [1.0, 2.0], "labels": ["x", "y" * MIB]})
    buffer = io.BytesIO()
    pq.write_table(long, buffer)
    assert "of row 1 is longer than 128" in refused(buffer.getvalue(), "a.parquet").detail
    assert "of row 1 is longer than 128" in refused(b"a,labels\n1,x\n2," + b"y" * MIB + b"\n", "a.csv").detail


def test_bytes_that_are_no_text_are_refused_in_a_parquet_file(refused) -> None:
    table = pa.table({"name": [1.0, 2.0], "labels": ["a class", "another"]})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none", use_dictionary=False, write_statistics=False, store_schema=False)
    data = buffer.getvalue()
    assert "cannot be read" in refused(data.replace(b"name", b"n\xffme"), "a.parquet").detail
    assert "no text in UTF-8" in refused(data.replace(b"another", b"an\xffther"), "a.parquet").detail


def test_what_is_kept_is_bounded_not_only_what_came(refused) -> None:
    data = npy(np.zeros((1000, 100), np.int8))
    assert (
        "400,000 bytes as they are kept" in refused(data, "a.npy", limits=ReadLimits(decompressed_bytes=200_000)).detail
    )
    csv = b"a,b\n" + b"1,2\n" * 10_000
    assert "bytes as they are kept" in refused(csv, "a.csv", limits=ReadLimits(decompressed_bytes=50_000)).detail


def test_a_line_without_end_is_refused(refused) -> None:
    endless = bytes(40 * MIB)
    assert "first line is longer" in refused(b"a" + endless, "a.csv").detail
    assert "cannot be read" in refused(b"a,b\n1,2\n" + endless, "a.csv").detail


def test_idx_of_more_than_there_is_room_for_is_refused(refused) -> None:
    huge = struct.pack(">BBBB6I", 0, 0, 14, 6, *[2**32 - 1] * 6)
    assert refused(gzip.compress(huge), "a.idx.gz").code == "limit_exceeded"
    assert refused(huge, "a.idx").code == "invalid_dataset"
    bomb = struct.pack(">BBBB2I", 0, 0, 8, 2, 100, 10) + bytes(64 * MIB)
    assert "goes on after the 1,000 bytes" in refused(gzip.compress(bomb, 9), "a.idx.gz").detail
