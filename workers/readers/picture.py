"""One picture: bytes of a stranger become pixels, as they are stored, or are refused by name.

PNG, JPEG, WebP, BMP and GIF of 8 bits a channel, one picture a file. Palettes and single bits are written out as the
colours that they stand for; nothing is turned, resized, blended, or taken from one colour space to another.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from latentmill.errors import InvalidDataset, LatentmillError, LimitExceeded
from latentmill.specs.pictures import PICTURES
from workers.readers.source import MAX_ROW_VALUES

# Their modules are loaded with this one: before an upload is opened, not by it.
FORMATS = (
    (PngImagePlugin.PngImageFile.format, b"\x89PNG\r\n\x1a\n"),
    (JpegImagePlugin.JpegImageFile.format, b"\xff\xd8\xff"),
    (WebPImagePlugin.WebPImageFile.format, b"RIFF"),
    (BmpImagePlugin.BmpImageFile.format, b"BM"),
    (GifImagePlugin.GifImageFile.format, b"GIF87a"),
    (GifImagePlugin.GifImageFile.format, b"GIF89a"),
)
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
SPOKEN = {"L": "grey", "LA": "grey with alpha", "RGB": "RGB", "RGBA": "RGBA"}
STORED = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
ORIENTATION, UPRIGHT = 0x0112, (0, 1)  # EXIF


@dataclass(frozen=True, slots=True)
class Form:
    """What all pictures of a dataset share: width and height in pixels, and the mode (L, LA, RGB, RGBA)."""

    width: int
    height: int
    mode: str

    @property
    def row_shape(self) -> tuple[int, ...]:
        """(height, width), and behind them the channels where there are several."""
        size = (self.height, self.width)
        return size if self.mode == "L" else (*size, CHANNELS[self.mode])

    def __str__(self) -> str:
        return f"{self.width} x {self.height} pixels, {SPOKEN[self.mode]}"


class Picture:
    """A picture whose header has been read and found usable; `pixels` reads the rest."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        with _pillow(name):
            self._image = _opened(data, name)
            self.form = Form(*self._image.size, _mode(self._image, name))
        _check_size(self.form.width * self.form.height * CHANNELS[self.form.mode], name)

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 of `form.row_shape`."""
        with _pillow(self.name):
            self._image.load()
            if self._orientation() not in UPRIGHT:
                raise InvalidDataset(
                    f"{self.name!r} is stored turned, with a note in its EXIF which way; save it as it is meant to be "
                    "seen (PIL.ImageOps.exif_transpose), or without EXIF if this is how the model was trained"
                )
            values = np.asarray(self._image.convert(self.form.mode))
            if values.shape != self.form.row_shape or values.dtype != np.uint8:
                raise ValueError("its pixels are others than its header says")
            return values

    def _orientation(self) -> int:
        with suppress(Exception):  # EXIF that cannot be read turns nothing
            return int(self._image.getexif().get(ORIENTATION, 0))
        return 0


@contextmanager
def _pillow(name: str) -> Iterator[None]:
    """Whatever Pillow stumbles over is the picture's fault: it was in memory before."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are bounded here, and of what was read all the same
            yield
    except (LatentmillError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise LimitExceeded(f"{name!r} has too many pixels; at most {MAX_ROW_VALUES:,} values are read") from error
    except Exception as error:
        said = str(error)[:200] or type(error).__name__
        raise InvalidDataset(f"{name!r} cannot be read, it is damaged or cut off: {said}") from error


def _opened(data: bytes, name: str) -> Image.Image:
    """The picture with its header read, of no more pixels than are read."""
    found = next((kind for kind, start in FORMATS if data.startswith(start)), None)
    if found is None or (found == "WEBP" and data[8:12] != b"WEBP"):
        raise InvalidDataset(f"{name!r} is no picture that is read ({PICTURES}), whatever its name says; leave it out")
    if found == "WEBP":  # whose canvas is in memory once it is open
        _check_size(_webp_pixels(data), name)
    image = Image.open(BytesIO(data), formats=[found])
    _check_size(image.width * image.height, name)
    return image


def _check_size(values: int, name: str) -> None:
    if values > MAX_ROW_VALUES:
        raise LimitExceeded(f"{name!r} has {values:,} values; at most {MAX_ROW_VALUES:,} are read")


def _mode(image: Image.Image, name: str) -> str:
    """The mode of the pixels by the header, or why they are not read."""
    if getattr(image, "is_animated", False):
        raise InvalidDataset(f"{name!r} holds several pictures (an animation?); save one a file")
    if image.format == "PNG" and any("16" in str(tile[3]) for tile in getattr(image, "tile", ())):
        # Pillow reads what is stored as "RGB;16B" as RGB.
        raise InvalidDataset(
            f"{name!r} has 16 bits a channel, of which 8 would be lost; save it with 8, or upload all as one array "
            "(npy) of floats in the model's range"
        )
    mode = "L" if _is_grey(image) else STORED.get(image.mode)
    if mode is None:
        raise InvalidDataset(
            f"{name!r} is stored as {image.mode}; grey and RGB are read, both also with alpha: convert it "
            "(PIL.Image.convert)"
        )
    return WITH_ALPHA.get(mode, mode) if "transparency" in image.info else mode


def _is_grey(image: Image.Image) -> bool:
    """Whether it has a palette of greys alone: GIF and small PNG files store grey pictures so."""
    if image.mode != "P":
        return False
    # Image.getpalette would read the pixels.
    order, colours = image.palette.getdata() if image.palette is not None else ("RGB", b"")
    if not colours:
        raise ValueError("it has no palette")
    step = len(order)
    return colours[0::step] == colours[1::step] == colours[2::step]


def _webp_pixels(data: bytes) -> int:
    """Pixels of the canvas, by the first chunk: RFC 9649, sections 2.5 to 2.7."""
    match data[12:16]:
        case b"VP8X":
            return (1 + int.from_bytes(data[24:27], "little")) * (1 + int.from_bytes(data[27:30], "little"))
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
        case _:
            return (int.from_bytes(data[26:28], "little") & 0x3FFF) * (int.from_bytes(data[28:30], "little") & 0x3FFF)
