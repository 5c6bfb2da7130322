"""Zips of images: each picture becomes a row as it is stored, in the order of the paths, labelled by its folder."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentmill.errors import InvalidDataset, LimitExceeded
from latentmill.specs import ImageRows, TensorRows
from workers.readers import DatasetContent, ReadLimits, read_dataset
from workers.rows import codec, laid_out

RANDOM = np.random.default_rng(1)
RGBA = RANDOM.integers(0, 256, (6, 5, 4), dtype=np.uint8)


def picture(array: np.ndarray, format: str = "PNG", **choices) -> bytes:
    return packed(Image.fromarray(array), format, **choices)


def packed(image: Image.Image, format: str = "PNG", **choices) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **choices)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., DatasetContent]:
    """Reads a zip of these members."""
    (tmp_path / "out").mkdir()

    def reading(members: dict[str, bytes], filename: str = "a.zip", **choices) -> DatasetContent:
        with zipfile.ZipFile(tmp_path / "upload", "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return read_dataset(tmp_path / "upload", filename, out_dir=tmp_path / "out", **choices)

    return reading


def rows_of(content: DatasetContent) -> np.ndarray:
    return np.load(content.rows_path, allow_pickle=False)


def labels_of(content: DatasetContent) -> list[str]:
    classes = list(content.labels)
    return [classes[number] for number in np.load(content.labels_path, allow_pickle=False)]


@pytest.mark.parametrize(
    ("format", "channels"),
    [("PNG", 1), ("PNG", 2), ("PNG", 3), ("PNG", 4), ("WEBP", 3), ("WEBP", 4), ("BMP", 1), ("BMP", 3), ("GIF", 1)],
)
def test_pixels_come_as_they_are_stored(read, format: str, channels: int) -> None:
    images = RANDOM.integers(0, 256, (7, 6, 5, channels), dtype=np.uint8)
    images = images[..., 0] if channels == 1 else images
    lossless = {"lossless": True, "exact": True} if format == "WEBP" else {}
    content = read({f"{i}.{format.lower()}": picture(image, format, **lossless) for i, image in enumerate(images)})
    assert (content.rows, content.row_shape, content.dtype) == (7, images.shape[1:], "uint8")
    assert content.layout == (None if channels == 1 else "HWC")
    assert (content.labels, content.warnings) == (None, [])
    assert np.array_equal(rows_of(content), images)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_16_pixels_are_not_16_bits(read, mode: str) -> None:
    pixels = RANDOM.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).convert("RGB").convert(mode)
    assert read({"16/16.png": packed(image)}).row_shape[:2] == (16, 16)


def test_jpeg_is_decoded_as_pillow_does(read) -> None:
    data = picture(RANDOM.integers(0, 256, (16, 24, 3), dtype=np.uint8), "JPEG")
    content = read({"a.jpg": data, "b.JPEG": data, "c.png": data})  # the bytes say what it is, not the name
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(rows_of(content), np.stack([expected] * 3))


def test_a_grey_zip_has_the_content_of_the_array(read, tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (3, 6, 5), dtype=np.uint8)
    zipped = read({f"{i}.png": picture(image) for i, image in enumerate(images)})
    np.save(tmp_path / "a.npy", images)
    array = read_dataset(tmp_path / "a.npy", "a.npy", out_dir=tmp_path / "out")
    assert zipped.digest == array.digest


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RGBA[..., 0] > 99), np.where(RGBA[..., 0] > 99, 255, 0)),
        (Image.fromarray(RGBA[..., :3]).quantize(7), None),
        (Image.fromarray(RGBA[..., 0]).quantize(4), None),
        (Image.fromarray(np.minimum(RGBA[..., 0], 7)), np.minimum(RGBA[..., 0], 7)),
    ],
    ids=["one bit", "palette", "palette of greys", "few greys"],
)
@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP"])
def test_palettes_and_bits_become_their_colours(read, image: Image.Image, expected, format: str) -> None:
    content = read({"a.png": packed(image, format)})
    if expected is None:
        expected = np.asarray(image.convert("RGB"))
        expected = expected[..., 0] if (expected == expected[..., :1]).all() else expected
    assert np.array_equal(rows_of(content)[0], expected)


def test_what_is_marked_transparent_is_alpha(read) -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    row = rows_of(read({"a.png": packed(image, transparency=5)}))[0]
    assert row[..., 0].reshape(-1).tolist() == list(range(12))
    assert row[..., 1].reshape(-1).tolist() == [255] * 5 + [0] + [255] * 6
    for pixels in (RGBA[..., :3], np.stack([RGBA[..., 0]] * 3, -1)):
        colours = Image.fromarray(pixels).quantize(8)
        expected = np.asarray(colours.convert("RGB"))
        for format in ("GIF", "PNG"):
            row = rows_of(read({"a.png": packed(colours, format, transparency=3)}))[0]
            assert row.shape[2] == (4 if (expected != expected[..., :1]).any() else 2)
            assert np.array_equal(row[..., -1] == 0, np.asarray(colours) == 3)
            assert np.array_equal(row[..., 0], expected[..., 0])


def test_rows_stand_in_the_order_of_paths(read) -> None:
    names = ["b/2.png", "b/10.png", "a-b/1.png", "a/9.png", "a/1.png"]
    content = read({name: picture(np.full((2, 2), i, np.uint8)) for i, name in enumerate(names)})
    order = sorted(names, key=lambda name: Path(name).parts)
    assert order == ["a/1.png", "a/9.png", "a-b/1.png", "b/10.png", "b/2.png"]
    assert [names[number] for number in rows_of(content)[:, 0, 0]] == order
    assert labels_of(content) == ["a", "a", "a-b", "b", "b"]
    assert content.labels == {"a": 2, "a-b": 1, "b": 2}


GREY = picture(np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["1.png", "2.png"], None),
        (["all/1.png", "all/2.png"], None),
        (["0/1.png", "10/2.png", "9/3.png"], ["0", "10", "9"]),
        (["data/train/cat/1.png", "data/train/dog/1.png"], ["cat", "dog"]),
    ],
)
def test_folders_one_below_what_all_share_are_classes(read, names: list[str], labels: list[str] | None) -> None:
    content = read(dict.fromkeys(names, GREY))
    assert (None if content.labels is None else labels_of(content)) == labels
    assert content.warnings == []


def test_folders_in_one_another_are_classes_only_where_asked(read) -> None:
    names = ["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"]
    content = read(dict.fromkeys(names, GREY))
    assert content.labels is None
    assert "label_column=folder" in content.warnings[0]
    asked = read(dict.fromkeys(names, GREY), label_column="folder")
    assert labels_of(asked) == ["cat", "cat", "dog"]  # test/cat first
    assert asked.warnings == []
    assert read({"cat/1.png": GREY}, label_column="folder").labels == {"cat": 1}


def test_a_file_of_labels_counts_for_more_than_folders(read, tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", np.array(["x", "y"]))
    beside = {"labels_path": tmp_path / "l.npy", "labels_filename": "l.npy"}
    content = read({"b/1.png": GREY, "a/c/2.png": GREY}, **beside)
    assert (labels_of(content), content.warnings) == (["x", "y"], [])


@pytest.mark.parametrize("root", ["", "pets/", "data/pets/"])
@pytest.mark.parametrize("header", ["", "file,class\n"])
def test_labels_by_name_come_in_any_order(read, tmp_path: Path, root: str, header: str) -> None:
    images = {f"{root}{name}": GREY for name in ("b/2.png", "a/10.png", "a/9.png")}
    beside = {"labels_path": tmp_path / "l.csv", "labels_filename": "l.csv"}
    for prefix in {"", root}:
        beside["labels_path"].write_text(
            f'{header}{prefix}b/2.png,two\n{prefix}a/9.png,"nine, or 9"\n{prefix}a/10.png,ten\n'
        )
        assert labels_of(read(images, **beside)) == ["ten", "nine, or 9", "two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png,x\n", "'b.png' has no label"),
        ("a.png,x\nb.png,y\nc.png,z\n", "Line 3 of the labels names 'c.png', which is none of the images"),
        ("image,label\na.png,x\nb.png,y\na.png,z\n", "Line 4 of the labels names 'a.png' a second time"),
        ("a.png,x\nb.png,\n", "label of row 1 is empty"),
        ("a.png,x\nb.png,y,z\n", "cannot be read"),
        ("a.png,x,1\nb.png,y,2\n", "3 columns; labels are one column"),
        ("w\nx\ny\nz\n", "2 rows, but 4 labels"),
    ],
)
def test_labels_by_name_must_name_every_image_once(read, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InvalidDataset, match=words):
        read({"a.png": GREY, "b.png": GREY}, labels_path=tmp_path / "l.csv", labels_filename="l.csv")


def test_what_programs_leave_behind_is_left_out_and_said(read) -> None:
    junk = dict.fromkeys(["__MACOSX/cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db", "dog/.hidden/3.png"], b"?")
    content = read({"cat/": b"", "cat/1.png": GREY, **junk, "dog/2.png": GREY})
    assert labels_of(content) == ["cat", "dog"]
    assert content.warnings == ["Files beside the images that were left out: 4, such as '__MACOSX/cat/._1.png'."]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_images_serve_models_of_either_layout(read, channels: int, layout: str) -> None:
    images = RANDOM.integers(0, 256, (5, 6, 3, channels), dtype=np.uint8)
    content = read({f"{i}.png": picture(im[..., 0] if channels == 1 else im) for i, im in enumerate(images)})
    shape = (channels, 6, 3) if layout == "CHW" else (6, 3, channels)
    spec = ImageRows(shape=shape, layout=layout)
    rows = laid_out(np.load(content.rows_path, mmap_mode="r"), content.layout, spec)
    floats = codec(spec).to_model(rows)
    assert floats.flags.c_contiguous  # the encoder computes as it does for any other upload
    back = floats if layout == "HWC" else np.moveaxis(floats, 1, 3)
    assert np.array_equal(np.rint(back * 255), images)
    if channels > 1:
        assert laid_out(rows, content.layout, TensorRows(shape=(6, 3, channels))) is rows


COLOUR = picture(RGBA[..., :3])
EXIF = Image.Exif()
EXIF[0x0112] = 6
FRAMES = [Image.fromarray(RGBA[..., 0]), Image.fromarray(RGBA[..., 1])]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a.png": COLOUR, "b/c.png": GREY}, r"'b/c.png' has 2 x 2 pixels, grey, 'a.png' 5 x 6 pixels, RGB; .*resize"),
        ({"a.png": COLOUR, "b.png": picture(RGBA)}, r"'b.png' has 5 x 6 pixels, RGBA, 'a.png' 5 x 6 pixels, RGB"),
        ({"a.png": COLOUR[:-40]}, "'a.png' cannot be read, it is damaged or cut off"),
        ({"a.jpg": picture(RGBA[..., :3], "JPEG")[:-80]}, "'a.jpg' cannot be read, it is damaged or cut off"),
        ({"a.png": b"\x89PNG\r\n\x1a\n"}, "'a.png' cannot be read"),
        ({"a.png": b""}, "'a.png' is no picture that is read .PNG, JPEG"),
        ({"a.png": packed(FRAMES[0], "TIFF")}, "'a.png' is no picture that is read"),
        ({"a.tiff": packed(FRAMES[0], "TIFF")}, "no .npy array"),
        ({"a.png": picture(RGBA[..., 0].astype(np.uint16) * 257)}, "'a.png' has 16 bits a channel"),
        ({"a.jpg": packed(Image.fromarray(RGBA, "CMYK"), "JPEG")}, r"'a.jpg' is stored as CMYK; .*PIL.Image.convert"),
        ({"a.jpg": packed(FRAMES[0], "JPEG", exif=EXIF)}, "stored turned.*exif_transpose"),
        ({"a.png": packed(FRAMES[0], exif=EXIF)}, "stored turned"),
        ({"a.gif": packed(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])}, "several pictures"),
        ({"a.webp": packed(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:])}, "several pictures"),
        ({"a.png": packed(FRAMES[0], save_all=True, append_images=FRAMES[1:])}, "several pictures"),
        ({"a.jpg": packed(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:])}, "several pictures"),
        ({"a.png": GREY, "notes.txt": b"x"}, "'notes.txt' in the archive is no image"),
        ({"a.png": GREY, "labels.csv": b"x"}, "labels as a file of their own"),
        ({"a.png": GREY, "labels.npy": b"x"}, "both arrays .'labels.npy'. and images .'a.png'."),
        ({"x" * 200 + "/a.png": GREY, "b/a.png": GREY}, "longer than 128"),
    ],
)
def test_refused_by_name(read, members: dict[str, bytes], words: str) -> None:
    with pytest.raises((InvalidDataset, LimitExceeded), match=words):
        read(members)


def test_colours_of_16_bits_are_refused_though_pillow_reads_8_of_them(read) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    body = zlib.compress(b"\0" + bytes(12))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    assert Image.open(io.BytesIO(png)).mode == "RGB"
    with pytest.raises(InvalidDataset, match="16 bits a channel"):
        read({"a.png": png})


def test_the_archives_name_and_the_labels_must_agree(read, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="is npz by its name, but holds a zip of images"):
        read({"a.png": GREY}, "a.npz")
    with pytest.raises(InvalidDataset, match=r"npz with the arrays mean and std; 'a.zip' is a zip of images"):
        read({"a.png": GREY}, kind="latents")
    with pytest.raises(InvalidDataset, match=r"no column 'y': their labels are the names of their folders"):
        read({"a.png": GREY}, label_column="y")
    with pytest.raises(InvalidDataset, match=r"'a.png' lies in no folder"):
        read({"a.png": GREY, "b/a.png": GREY}, label_column="folder")
    np.save(tmp_path / "l.npy", np.arange(3))
    with pytest.raises(InvalidDataset, match="1 rows, but 3 labels"):
        read({"a.png": GREY}, labels_path=tmp_path / "l.npy", labels_filename="l.npy")


def test_what_pixels_take_is_bounded_before_they_are_read(read) -> None:
    large = picture(np.zeros((4000, 4000), np.uint8))
    assert len(large) < 20_000
    with pytest.raises(LimitExceeded, match=r"80,000,000 bytes as they are kept; at most 50,000,000"):
        read({f"{i}.png": large for i in range(5)}, limits=ReadLimits(decompressed_bytes=50_000_000))
    with pytest.raises(LimitExceeded, match=r"'a.png' has 16,785,409 values; at most 16,777,216 are read"):
        read({"a.png": picture(np.zeros((4097, 4097), np.uint8))})
    with pytest.raises(LimitExceeded, match="at most 2 are read"):
        read({f"{i}.png": GREY for i in range(3)}, limits=ReadLimits(rows=2))


def test_memory_does_not_grow_with_the_images(read) -> None:
    image = picture(np.zeros((1000, 1000), np.uint8))
    tracemalloc.start()
    content = read({f"{i}.png": image for i in range(100)})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content.rows == 100
    assert peak < 48 * 2**20  # of 100 MB, and 32 MiB that a directory may take
