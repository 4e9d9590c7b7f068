"""Which files and which lines are meant by what a person typed."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import InvalidFile
from .read import data_of, formats

#: How names of pictures end, by the format that must be read for them.
SUFFIXES = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"), ""),
    **{".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF", ".jxl": "JXL", ".psd": "PSD"},
}


def pictures(given: Iterable[str], warn: Callable[[str], object] = lambda said: None) -> list[Path]:
    """The files that are meant: each a picture, a folder's pictures by name, or what a pattern with ``*`` finds; hidden
    ones only by their own names.

    Args:
        warn: takes a sentence on the pictures among them of formats that are not read here.

    Raises:
        InvalidFile: a folder or a pattern without any. A file that is not there is refused when it is read.
    """
    found: list[Path] = []
    for text in given:
        path = Path(os.path.expanduser(text))
        if os.path.isdir(path):
            some = _readable(text, path.iterdir(), warn)
        elif any(sign in text for sign in "*?[") and not os.path.exists(path):
            some = _readable(text, map(Path, glob.glob(str(path), recursive=True)), warn)
        else:
            some = [path]
        if not some:
            kinds = ", ".join(formats())
            raise InvalidFile(
                f"{text} holds no picture: name a picture, a folder of them or a pattern; possible are {kinds}"
            )
        found += some
    return found


def _readable(given: str, found: Iterable[Path], warn: Callable[[str], object]) -> list[Path]:
    """Of some files the pictures that are read here, by name."""
    named = sorted(each for each in found if each.suffix.lower() in SUFFIXES and not each.name.startswith("."))
    read = [each for each in named if SUFFIXES[each.suffix.lower()] in ("", *formats())]
    others = Counter(each.suffix.lower() for each in named if each not in read)
    if others:
        more = ": HEIC is read after `pip install 'danqing[heic]'`" if {".heic", ".heif"} & set(others) else ""
        counts = ", ".join(f"{count} of {end}" for end, count in sorted(others.items()))
        warn(f"{given} holds pictures of formats that are not read here, which were passed over: {counts}{more}")
    return read


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
