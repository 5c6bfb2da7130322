"""The demo's picture: grids of digits side by side, each under what it is."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from latentmill.demo.digits import SIDE, Images

COLUMNS, ROWS = 10, 10
SCALE = 4  # pixels of the picture for one of a digit
GAP = 1  # pixels of a digit between two digits
MARGIN = 20
TITLE_SIZE, NOTE_SIZE = 22, 15
HEAD = TITLE_SIZE + NOTE_SIZE + 22
PAPER, FRAME, INK, GREY = 255, 232, 20, 110


def draw(grids: Mapping[str, tuple[str, Images]], path: Path) -> None:
    """Save a PNG with one grid of the first 100 images for each title; the note stands below the title."""
    side = ((SIDE + GAP) * COLUMNS + GAP) * SCALE
    width = MARGIN + (side + MARGIN) * len(grids)
    picture = Image.new("L", (width, HEAD + side + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    title_font, note_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(NOTE_SIZE)
    for index, (title, (note, images)) in enumerate(grids.items()):
        left = MARGIN + index * (side + MARGIN)
        pen.text((left, 10), title, fill=INK, font=title_font)
        pen.text((left, 14 + TITLE_SIZE), note, fill=GREY, font=note_font)
        picture.paste(_grid(images), (left, HEAD))
    picture.save(path)


def _grid(images: Images) -> Image.Image:
    """Dark digits on white, separated by light lines, every pixel a square."""
    chosen = 255 - images[: COLUMNS * ROWS]
    cell = SIDE + GAP
    sheet = np.full((ROWS * cell + GAP, COLUMNS * cell + GAP), FRAME, dtype=np.uint8)
    for index, image in enumerate(chosen):
        top, left = (index // COLUMNS) * cell + GAP, (index % COLUMNS) * cell + GAP
        sheet[top : top + SIDE, left : left + SIDE] = image
    enlarged = Image.fromarray(sheet)
    return enlarged.resize((sheet.shape[1] * SCALE, sheet.shape[0] * SCALE), Image.Resampling.NEAREST)
