"""A sheet of pictures along two axes, each row and column with its label."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .read import MAX_PIXELS, over_white

#: Fonts with Chinese characters, as Linux, macOS and Windows call them; the first that is there is taken for texts that
#: Pillow's own font has no signs for.
CHINESE = (
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "PingFang.ttc",
    "STHeiti Light.ttc",
    "msyh.ttc",
)
#: Of the labels: their size as a share of a cell's width, within these pixels; and the space around all things.
SHARE, LEAST, LARGEST, SPACE = 0.09, 11, 40, 8
INK, PAPER = "#222222", "white"


def labelled(
    pictures: Sequence[Image.Image | None], across: Sequence[str], down: Sequence[str], title: str = ""
) -> tuple[Image.Image, float]:
    """The pictures row by row under their labels, and the scale that they are shown at: below 1 where the sheet would
    be larger than what is read here.

    Args:
        pictures: rows of ``len(across)``; None leaves a cell empty.
        down: labels of the rows; none are written where all are empty.
    """
    there = [picture for picture in pictures if picture is not None]
    width = max((picture.width for picture in there), default=64)
    height = max((picture.height for picture in there), default=64)
    columns, rows = len(across), len(down)
    scale = min(1.0, (MAX_PIXELS / 1.3 / (width * height * columns * rows)) ** 0.5)
    width, height = max(1, int(width * scale)), max(1, int(height * scale))
    size = int(min(LARGEST, max(LEAST, width * SHARE)))
    wide = [_wrapped(text, width, size) for text in across]
    tall = [_wrapped(text, width, size) for text in down]
    top = max((_extent(text, size)[1] for text in wide), default=0) + SPACE
    left = max((_extent(text, size)[0] for text in tall), default=0) + (2 * SPACE if any(down) else 0)
    head = _extent(title, size)[1] + 2 * SPACE if title else SPACE
    total = left + columns * (width + SPACE) + SPACE, head + top + rows * (height + SPACE)
    sheet = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((SPACE, SPACE), title, INK, _font(title, size))
    for i, text in enumerate(wide):
        x = left + SPACE + i * (width + SPACE) + width // 2
        draw.multiline_text((x, head + top - SPACE // 2), text, INK, _font(text, size), "md", align="center")
    for i, text in enumerate(tall):
        y = head + top + i * (height + SPACE) + height // 2
        draw.multiline_text((left - SPACE, y), text, INK, _font(text, size), "rm", align="right")
    for n, picture in enumerate(pictures):
        x, y = left + SPACE + n % columns * (width + SPACE), head + top + n // columns * (height + SPACE)
        if picture is None:
            draw.rectangle((x, y, x + width - 1, y + height - 1), outline=INK)
            continue
        shown = over_white(picture)
        if scale < 1:
            small = max(1, int(picture.width * scale)), max(1, int(picture.height * scale))
            shown = shown.resize(small, Image.Resampling.LANCZOS)
        sheet.paste(shown, (x, y))
    return sheet, scale


def _wrapped(text: str, width: int, size: int) -> str:
    """A label in lines about as wide as a picture, four at most."""
    return "\n".join(textwrap.wrap(text, max(4, int(width / (size * 0.55))), max_lines=4, placeholder=" …"))


def _extent(text: str, size: int) -> tuple[int, int]:
    if not text:
        return 0, 0
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, _font(text, size))
    return int(box[2]), int(box[3])


def _font(text: str, size: int) -> Any:
    return _face(not text.isascii(), size)


@lru_cache(maxsize=16)
def _face(chinese: bool, size: int) -> Any:
    for name in CHINESE if chinese else ():
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
