"""Several pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .encode import to_bytes
from .files import put
from .read import plain


def contact(images: Sequence[Image.Image], columns: int | None = None, gap: int = 0) -> Image.Image:
    """Pictures row by row, each in a cell of the largest one's size; where one is transparent, so is the sheet.

    Args:
        columns: in a row; nearly as many as rows when not given.
        gap: pixels between cells, and around them.
    """
    columns = min(len(images), columns or math.ceil(math.sqrt(len(images))))
    width, height = max(i.width for i in images) + gap, max(i.height for i in images) + gap
    clear = any(image.has_transparency_data for image in images)
    size = (columns * width + gap, math.ceil(len(images) / columns) * height + gap)
    sheet = Image.new("RGBA", size, (255, 255, 255, 0)) if clear else Image.new("RGB", size, "white")
    for n, image in enumerate(images):
        sheet.paste(plain(image), (gap + n % columns * width, gap + n // columns * height))
    return sheet


def write(
    images: Sequence[Image.Image], path: Path, *, columns: int | None = None, gap: int = 0, overwrite: bool = False
) -> Path:
    """The `contact` sheet of several pictures as one PNG."""
    return put(path, to_bytes(contact(images, columns, gap), {"format": "PNG"}), overwrite=overwrite)
