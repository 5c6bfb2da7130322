"""Zips of images that lie: pictures that promise the world, archives that hide things, names that lead elsewhere."""

import io
import re
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentmill.errors import InvalidDataset, LatentmillError, LimitExceeded
from workers.readers import DatasetContent, read_dataset
from workers.readers import images as image_zips

MIB = 2**20
HUGE = 100_000


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], DatasetContent]:
    """Reads a zip of these bytes; whatever comes of it, nothing lies outside of the folder that was given."""

    def reading(data: bytes) -> DatasetContent:
        folder = tmp_path / "a" / "out"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "upload").write_bytes(data)
        try:
            return read_dataset(tmp_path / "upload", "a.zip", out_dir=folder)
        finally:
            assert {path.name for path in tmp_path.rglob("*")} <= {"a", "out", "upload", "rows.npy", "labels.npy"}

    return reading


@pytest.fixture
def refused(read) -> Callable[[bytes], LatentmillError]:
    def refusal(data: bytes) -> LatentmillError:
        with pytest.raises((InvalidDataset, LimitExceeded)) as caught:
            read(data)
        return caught.value

    return refusal


def packed(array: np.ndarray, format: str = "PNG", **choices) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **choices)
    return buffer.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(buffer.getvalue())


def in_directory(data: bytearray, offset: int, code: str, value: int) -> bytes:
    """The archive with another number at this place of the last entry of its central directory."""
    at = [found.start() for found in re.finditer(b"PK\x01\x02", data)][-1] + offset
    data[at : at + struct.calcsize(code)] = struct.pack(code, value)
    return bytes(data)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, body: bytes, *between: bytes, kind: int = 0) -> bytes:
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    return start + b"".join(between) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def gif(width: int, height: int, frames: int) -> bytes:
    """Frames of one pixel, 20 bytes each, on a screen of this size."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + frame * frames + b"\x3b"


def webp(size: bytes, kind: bytes) -> bytes:
    payload = b"WEBP" + kind + struct.pack("<I", len(size)) + size
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


GREY = packed(np.arange(16, dtype=np.uint8).reshape(4, 4))
COLOUR = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
JPEG = packed(COLOUR, "JPEG")
BMP = packed(COLOUR, "BMP")
FLAGS, METHOD, SIZE = (8, "<H"), (10, "<H"), (24, "<I")
NOTHING = zlib.compress(bytes(8 * MIB))
VP8X = bytes(4) + (16_383).to_bytes(3, "little") * 2
VP8L = b"\x2f" + (16_383 | 16_383 << 14).to_bytes(4, "little") + bytes(20)
VP8 = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(20)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(HUGE, HUGE, NOTHING), "too many pixels|10,000,000,000 values"),
        (png(5000, 5000, NOTHING), "25,000,000 values; at most 16,777,216"),
        (png(4000, 4000, NOTHING, kind=6), "64,000,000 values; at most"),
        (png(2**31 - 1, 2**31 - 1, NOTHING), "too many pixels"),
        (png(10_000, 10_000, NOTHING, chunk(b"PLTE", bytes(6)), kind=3), "100,000,000 values; at most"),
        (png(4, 4, b"?", chunk(b"PLTE", bytes(6)), kind=3), "damaged"),
        (png(4, 4, zlib.compress(bytes(20)), kind=3), "damaged"),  # a palette that is not there
        (png(0, 4, NOTHING), "cannot be read|no picture"),
        (png(64, 64, zlib.compress(b"")), "damaged or cut off"),
        (png(4, 4, b"no zlib at all"), "damaged or cut off"),
        (png(4, 4, zlib.compress(bytes(20)), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * MIB)))), "damaged"),
        (png(4, 4, zlib.compress(bytes(20)), chunk(b"IHDR", struct.pack(">IIBBBBB", HUGE, HUGE, 8, 0, 0, 0, 0))),
         "too many|at most|damaged"),
        (JPEG[:200], "damaged or cut off"),
        (JPEG[:-100], "damaged or cut off"),
        (JPEG.replace(struct.pack(">HH", 32, 32), struct.pack(">HH", 65_535, 65_535)), "too many|at most"),
        (BMP[:18] + struct.pack("<ii", HUGE, HUGE) + BMP[26:], "too many|at most"),
        (BMP[:18] + struct.pack("<ii", -32, 32) + BMP[26:], "too many|damaged"),
        (BMP[:100], "damaged or cut off"),
        (gif(4, 4, 10**6), "several pictures"),
        (gif(65_535, 65_535, 1), "too many|at most"),
        (gif(4, 4, 0), "damaged"),
        (webp(VP8X, b"VP8X"), "268,435,456 values; at most"),
        (webp(VP8L, b"VP8L"), "268,435,456 values; at most"),
        (webp(VP8, b"VP8 "), "268,402,689 values; at most"),
        (webp(b"", b"VP8X"), "damaged|cannot be read"),
        (b"RIFF\0\0\0\0WAVE", "is no picture that is read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "is no picture"),
        (b"%!PS-Adobe-3.0\n(/etc/passwd) run", "is no picture that is read"),
        (b"II*\0" + bytes(100), "is no picture that is read"),
        (b"\x93NUMPY\x01\0", "is no picture that is read"),
    ],
)  # fmt: skip
def test_a_picture_that_lies_is_refused_at_once(refused, data: bytes, words: str) -> None:
    started = time.monotonic()
    error = refused(bytes(zipped(("a.png", data))))
    assert re.search(words, error.detail), error.detail
    assert "'a.png'" in error.detail
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "name", ["../a.png", "/a.png", "a/../../b.png", "a//b.png", "./a.png", "a\\b.png", "C:\\a.png", "a/./b.png"]
)
def test_names_that_are_no_plain_paths_are_refused(refused, name: str) -> None:
    assert "is no plain path" in refused(bytes(zipped((name, GREY)))).detail


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (in_directory(zipped(("a.png", GREY)), *FLAGS, 1), "'a.png' in the archive is encrypted"),
        (bytes(zipped(("a.png", GREY), method=zipfile.ZIP_LZMA)), "compression method 14; save the zip again"),
        (bytes(zipped((link("a.png"), b"/etc/passwd"))), "'a.png' in the archive is a link"),
        (bytes(zipped((link("a.png"), GREY))), "'a.png' in the archive is a link"),
        (in_directory(zipped(("a.png", GREY)), *SIZE, 10**9), "takes 1,000,000,000 bytes; at most 33,554,432"),
        (in_directory(zipped(("a.png", GREY)), *SIZE, 20), "damaged"),
        (in_directory(zipped(("a.png", GREY)), 16, "<I", 7), "damaged"),  # its checksum
        (bytes(zipped(("a.png", GREY), ("b.png", bytes(zipped(("a.png", GREY))))))[:-30], "damaged"),
        (bytes(zipped(("a.png", GREY), ("b.zip", bytes(zipped(("a.png", GREY)))))), "'b.zip' in the archive is no"),
        (bytes(zipped(("__MACOSX/a.png", GREY))), "no .npy array.* and no image"),
        (bytes(zipped(("a.png", GREY), ("a.pkl", b"cos\nsystem\n"))), "'a.pkl' in the archive is no image"),
        # a picture in front of an archive, or behind one
        (GREY + bytes(zipped(("a.png", GREY))), "no format that can be read"),
    ],
)
def test_an_archive_that_lies_is_refused(refused, data: bytes, words: str) -> None:
    error = refused(data)
    assert re.search(words, error.detail), error.detail


def test_the_same_name_twice_is_refused(refused) -> None:
    data = zipped(("a.png", GREY), ("b.png", GREY))
    assert "holds 'a.png' twice" in refused(bytes(data).replace(b"b.png", b"a.png")).detail


def test_a_name_of_nothing_is_refused(refused) -> None:
    data = zipped(("a.png", GREY), ("x", b""))
    at = data.rindex(b"PK\x01\x02")
    length = in_directory(data, 28, "<H", 0)
    assert at
    assert refused(length[:at] + length[at:].replace(b"x", b"", 1)).code == "invalid_dataset"


def test_too_many_members_are_refused_by_the_directory(refused, monkeypatch) -> None:
    monkeypatch.setattr(image_zips, "MAX_MEMBERS", 10)
    many = bytes(zipped(*[(f"{number}.png", GREY) for number in range(11)]))
    assert refused(many).detail == "The archive has 11 members; at most 10 are read"
    monkeypatch.setattr(image_zips, "DIRECTORY_BYTES", MIB)
    long = bytes(zipped(*[(f"{number:0{60_000}}.png", b"") for number in range(20)]))
    assert "directory is larger than 1 MiB" in refused(long).detail


def test_folders_without_end_take_no_time(read) -> None:
    started = time.monotonic()
    content = read(bytes(zipped(*[("a/" * 16_000 + f"{number}/x.png", GREY) for number in range(50)])))
    assert content.labels is not None
    assert len(content.labels) == 50
    assert time.monotonic() - started < 10


def test_inflating_ends_where_the_directory_says(refused) -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compress.compress(GREY) + b"".join(compress.compress(bytes(MIB)) for _ in range(64)) + compress.flush()
    data = zipped(("a.png", bomb), method=zipfile.ZIP_STORED)
    data[8:10] = struct.pack("<H", 8)  # the local header: deflated after all
    data = bytearray(in_directory(data, *METHOD, 8))
    assert len(data) < MIB // 8
    assert refused(in_directory(data, *SIZE, len(GREY))).code == "invalid_dataset"


def test_what_follows_a_picture_is_not_read(read) -> None:
    """A polyglot: a picture that is an archive too is the picture that its first bytes say."""
    content = read(bytes(zipped(("a.png", GREY + bytes(zipped(("rows.npy", b"?"))) + b"<?php"))))
    assert np.array_equal(np.load(content.rows_path)[0], np.arange(16).reshape(4, 4))
