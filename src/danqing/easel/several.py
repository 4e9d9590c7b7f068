"""Several pictures at once: which files and lines are meant, and all on one sheet."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from ..errors import InvalidFile
from . import files

#: How names of pictures end, of the kinds that are read.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def pictures(given: Iterable[str]) -> list[Path]:
    """The files that are meant: each a picture, a folder's pictures by name, or what a pattern with ``*`` finds.

    Raises:
        InvalidFile: a folder or a pattern without any. A file that is not there is refused when it is read.
    """
    found: list[Path] = []
    for text in given:
        path = Path(os.path.expanduser(text))
        if os.path.isdir(path):
            some = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES)
        elif any(sign in text for sign in "*?[") and not os.path.exists(path):
            some = sorted(
                each for each in map(Path, glob.glob(str(path), recursive=True)) if each.suffix.lower() in SUFFIXES
            )
        else:
            some = [path]
        if not some:
            kinds = ", ".join(files.READABLE)
            raise InvalidFile(
                f"{text} holds no picture: name a picture, a folder of them or a pattern; possible are {kinds}"
            )
        found += some
    return found


def lines(source: str) -> list[str]:
    """The lines of a text file, without empty ones and those that begin with #.

    Raises:
        InvalidFile: it cannot be read, or is no text in UTF-8.
    """
    data, name = files.data_of(source)
    try:
        found = (line.strip() for line in data.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError:
        raise InvalidFile(f"{name} is no text in UTF-8: save it as such, a prompt a line") from None
    return [line for line in found if line and not line.startswith("#")]


def write_sheet(
    images: Sequence[Image.Image], path: Path, *, columns: int | None = None, gap: int = 0, overwrite: bool = False
) -> Path:
    """Several pictures as one PNG, row by row, each in a cell of the largest one's size; where one is transparent, so
    is the sheet.

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
        sheet.paste(files.plain(image), (gap + n % columns * width, gap + n // columns * height))
    return files.put(path, files.encode(sheet, {"format": "PNG"}), overwrite=overwrite)
