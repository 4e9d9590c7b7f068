"""Which files and which lines are meant by what a person typed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidFile
from .read import READABLE, data_of

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
            kinds = ", ".join(READABLE)
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
    data, name = data_of(source)
    try:
        found = (line.strip() for line in data.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError:
        raise InvalidFile(f"{name} is no text in UTF-8: save it as such, a prompt a line") from None
    return [line for line in found if line and not line.startswith("#")]
