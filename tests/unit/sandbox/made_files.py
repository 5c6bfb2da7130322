"""Files of every format that is read, valid ones and ones that lie: what a fuzzer begins with."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import Generator
from PIL import Image

from tests.unit.sandbox.made_tables import tables
from tests.unit.sandbox.mutations import JSON_VALUES, NUMBERS, mutated, pick, spoilt

DESCRIPTIONS = (
    "|u1", "<f4", "<f8", ">f8", "<i8", ">i2", "|b1", "<f2", "<u8", "<c16", "|O", "|S5", "<U3", "|V7", "<M8[ns]",
    "<m8[s]", "|S2147483647", "|V2147483647", "<U536870911", "float", "", "x", [["a", "<f4"]], [["a", "|O"]], "<f16",
    "3f4", "f4,f4", ["<f4", [2, 2]], 7, None,
)  # fmt: skip
COLUMNS = (
    pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary(),
    pa.decimal128(10, 2), pa.timestamp("ns"), pa.date32(), pa.null(), pa.list_(pa.float32()),
    pa.list_(pa.float32(), 3), pa.list_(pa.list_(pa.int8())), pa.struct([("a", pa.int8())]), pa.duration("s"),
    pa.dictionary(pa.int8(), pa.string()), pa.large_list(pa.float64()), pa.map_(pa.string(), pa.int8()),
)  # fmt: skip
PLAIN = (pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.bool_())
SIZES = (0, 1, 2, 3, 7, 100, -1, 2**24, 2**31, 2**40, 2**62, 2**63, True, 1.5, "3", None)
NAMES = ("rows.npy", "labels.npy", "x.npy", "mean.npy", "std.npy", "../rows.npy", "/rows.npy", "rows", "a/rows.npy",
         ".npy", "rows.npy/", "r\u00f6ws.npy", "rows.npy ", "a.png")  # fmt: skip
IMAGE_MODES = (
    ("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"),
    ("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGB", "WEBP"), ("RGBA", "WEBP"), ("L", "BMP"), ("RGB", "BMP"),
    ("P", "BMP"), ("P", "GIF"), ("L", "GIF"),
)  # fmt: skip
IMAGE_FOLDERS = ("", "a/", "b/", "a/b/", "../", "__MACOSX/", "\u00e9/", "x" * 200 + "/")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

Made = tuple[bytes, str]  # a file and its name


def npy(random: Generator) -> Made:
    """An array, or a header that promises anything."""
    if random.random() < 0.4:
        return _array(random, _shape(random)), "a.npy"
    shape = [pick(random, SIZES) for _ in range(int(random.integers(0, 5)))]
    described: Any = {"descr": pick(random, DESCRIPTIONS), "fortran_order": pick(random, (True, False, 1)),
                      "shape": tuple(shape)}  # fmt: skip
    if random.random() < 0.1:
        described = spoilt(random, described)
    text = repr(described).encode("utf-8", "replace") + b" " * int(random.integers(0, 64)) + b"\n"
    if random.random() < 0.03:
        text = b"(" * int(random.integers(1, 60_000)) + text
    version, code = pick(random, ((b"\x01\x00", "<H"), (b"\x02\x00", "<I"), (b"\x03\x00", "<I"), (b"\x09\x09", "<H")))
    length = len(text) if random.random() < 0.9 else pick(random, NUMBERS)
    packed = struct.pack(code, length % 2 ** (8 * struct.calcsize(code)))
    return b"\x93NUMPY" + version + packed + text + random.bytes(int(random.integers(0, 300))), "a.npy"


def npz(random: Generator) -> Made:
    """An archive of arrays, some of whose directory's claims may be untrue."""
    buffer = io.BytesIO()
    rows, right = int(random.integers(1, 50)), random.random() < 0.4
    with zipfile.ZipFile(buffer, "w", allowZip64=True) as archive:
        for number in range(int(random.integers(0, 4))):
            honest = _array(random, (rows, *_shape(random)[1:], 2))
            labels = _array(random, (rows,), kinds=("<i8", "<U3", "|S2", "<f4"))
            content = pick(random, (honest, honest, labels, npy(random)[0], buffer.getvalue(), b""))
            name = zipfile.ZipInfo(pick(random, NAMES))
            name.compress_type = pick(random, METHODS)
            if right:
                content, name.filename = ((honest, "rows.npy"), (labels, "labels.npy"))[min(number, 1)]
                name.compress_type = pick(random, METHODS[:2])
            _put(archive, name, content)
    data = bytearray(buffer.getvalue())
    if random.random() < 0.4:
        _lie_in_directory(random, data)
    return bytes(data), pick(random, ("a.npz", "a.npz", "a.zip"))


def parquet(random: Generator) -> Made:
    """A table of any types; most readers' faults lie in the footer and the pages' headers."""
    rows = int(random.integers(0, 40))
    honest = random.random() < 0.5
    columns = {
        pick(random, ("a", "b", "rows", "labels", "\0", "c" * 50)): _column(random, rows, honest=honest)
        for _ in range(int(random.integers(1, 5)))
    }
    table = pa.table(columns)
    if random.random() < 0.2:
        table = table.replace_schema_metadata({"latentmill": json.dumps({"shapes": {"rows": pick(random, JSON_VALUES)}},
                                                                        default=str)})  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, compression=pick(random, ("none", "snappy", "zstd", "gzip", "brotli", "lz4")),
        use_dictionary=bool(random.random() < 0.5), data_page_version=pick(random, ("1.0", "2.0")),
        row_group_size=int(random.integers(1, 50)), write_page_checksum=bool(random.random() < 0.5),
    )  # fmt: skip
    return buffer.getvalue(), "a.parquet"


def csv(random: Generator) -> Made:
    """Lines of fields, right and wrong ones."""
    fields = ("1", "2.5", "-3e9", "1e999", "nan", "", " ", "x", "0", "true", '"a,b"', '"a\nb"', '"', "\0", "\xff", "é",
              "labels", "1" * 400, "0x10", "1_0", "+", "٣")  # fmt: skip
    width = int(random.integers(1, 6))
    ordinary = random.random() < 0.5
    lines = []
    for number in range(int(random.integers(0, 30))):
        fits = width if random.random() < 0.98 else width + 1
        honest = [f"c{i}" for i in range(fits)] if number == 0 else [f"{random.random():.3f}" for _ in range(fits)]
        lines.append(",".join(honest if ordinary else [pick(random, fields) for _ in range(fits)]))
    start = pick(random, ("", "", "", "\ufeff", "\n", "#"))
    text = start + pick(random, ("\n", "\r\n", "\r")).join(lines) + pick(random, ("", "\n"))
    return text.encode(pick(random, ("utf-8", "utf-8", "utf-16", "latin-1")), "replace"), "a.csv"


def idx(random: Generator) -> Made:
    """An IDX file, gzipped or not."""
    kind, axes = pick(random, (8, 9, 11, 12, 13, 14, 10, 255)), int(random.integers(0, 8))
    shape = [pick(random, (1, 2, 3, 10, 0, 2**31, 2**32 - 1)) if random.random() < 0.5 else 3 for _ in range(axes)]
    promised = int(np.prod([float(size) for size in shape])) * {8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8}.get(kind, 1)
    size = promised if promised < 10_000 and random.random() < 0.7 else int(random.integers(0, 100))
    data = struct.pack(f">BBBB{axes}I", 0, 0, kind, axes, *shape) + random.bytes(size)
    if random.random() < 0.5:
        return data, "a.idx"
    zipped = gzip.compress(data, mtime=0)
    return (zipped + zipped if random.random() < 0.1 else zipped), "a.idx.gz"


def images(random: Generator) -> Made:
    """A zip of pictures in folders, honest ones for the most part, some of them spoilt."""
    buffer = io.BytesIO()
    honest, mode = random.random() < 0.5, pick(random, IMAGE_MODES)
    size = (int(random.integers(1, 9)), int(random.integers(1, 9)))
    with zipfile.ZipFile(buffer, "w", allowZip64=True) as archive:
        for number in range(int(random.integers(1, 5))):
            one = mode if honest else pick(random, IMAGE_MODES)
            content = _picture(random, one, size if honest or random.random() < 0.7 else (3, 3))
            if not honest and random.random() < 0.6:
                content = mutated(random, content, _picture(random, pick(random, IMAGE_MODES), size))
            folder, ending = pick(random, IMAGE_FOLDERS), pick(random, (".png", ".jpg", ".GIF", ".webp", ".bmp"))
            name = zipfile.ZipInfo(
                f"{folder}{number}{ending}" if honest else pick(random, (f"{folder}{ending}", *NAMES))
            )
            name.compress_type = pick(random, METHODS[:2] if honest else METHODS)
            _put(archive, name, content)
    data = bytearray(buffer.getvalue())
    if not honest and random.random() < 0.2:
        _lie_in_directory(random, data)
    return bytes(data), "a.zip"


def _picture(random: Generator, mode: tuple[str, str], size: tuple[int, int]) -> bytes:
    kind, format = mode
    pixels = random.integers(0, 256, (*size, 4), dtype=np.uint8)
    image = (
        Image.fromarray(pixels).convert("RGB").convert(kind) if kind == "P" else Image.fromarray(pixels).convert(kind)
    )
    choices: dict[str, Any] = {}
    if random.random() < 0.1:
        choices["exif"] = random.bytes(40) if format == "WEBP" else b"Exif\0\0" + random.bytes(40)
    if format in ("PNG", "WEBP", "GIF") and random.random() < 0.1:
        choices |= {"save_all": True, "append_images": [image] * int(random.integers(0, 3))}
    buffer = io.BytesIO()
    image.save(buffer, format, **choices)
    return buffer.getvalue()


MAKERS: dict[str, Callable[[Generator], Made]] = {
    "npy": npy, "npz": npz, "parquet": parquet, "csv": csv, "idx": idx, "images": images,
    "tables": tables,
}  # fmt: skip


def hostile(random: Generator, reader: str) -> Made:
    """A file for this reader: as it is made, or mutated as well."""
    data, name = MAKERS[reader](random)
    if random.random() < 0.4:
        data = mutated(random, data, MAKERS[reader](random)[0])
    return data, name


def _shape(random: Generator) -> tuple[int, ...]:
    return tuple(int(random.integers(1, 8)) for _ in range(int(random.integers(1, 5))))


def _array(
    random: Generator, shape: tuple[int, ...], kinds: tuple[str, ...] = ("<f4", ">f8", "|u1", "<i8", "|b1")
) -> bytes:
    array = random.integers(-3, 300, shape).astype(pick(random, kinds))
    if random.random() < 0.2:
        array = np.asfortranarray(array)
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _put(archive: zipfile.ZipFile, name: zipfile.ZipInfo, content: bytes) -> None:
    if name.filename in archive.namelist():
        name.filename = f"{len(archive.namelist())}{name.filename}"
    archive.writestr(name, content)


def _lie_in_directory(random: Generator, data: bytearray) -> None:
    """Another number, or another flag, in one entry of the central directory."""
    at = data.find(b"PK\x01\x02")
    if at < 0:
        return
    offset, width = pick(random, ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (38, 4), (42, 4)))
    number = pick(random, (*NUMBERS, 9, 10)) % 2 ** (8 * width)
    data[at + offset : at + offset + width] = number.to_bytes(width, "little")


def _column(random: Generator, rows: int, *, honest: bool) -> pa.Array:
    kind = pick(random, PLAIN if honest else COLUMNS)
    return pa.array([None if not honest and random.random() < 0.1 else _value(random, kind) for _ in range(rows)], kind)


def _value(random: Generator, kind: pa.DataType) -> Any:
    number = int(random.integers(0, 100))
    if pa.types.is_fixed_size_list(kind):
        return [_value(random, kind.value_type) for _ in range(3)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_value(random, kind.value_type) for _ in range(pick(random, (2, 2, 2, 2, 0, 5)))]
    if pa.types.is_struct(kind):
        return {"a": number}
    if pa.types.is_map(kind):
        return [("k", number)]
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return pick(random, ("a", "b", "", "\0", "x" * 200))
    if pa.types.is_binary(kind):
        return b"\xff\0"
    if pa.types.is_null(kind):
        return None
    if pa.types.is_boolean(kind):
        return number > 50
    return np.float16(number) if pa.types.is_float16(kind) else number
