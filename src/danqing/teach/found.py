"""What lies in a folder of pictures, by the names of its files alone; no torch is loaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from ..errors import InvalidFile
from ..pictures.read import formats


def found(folder: Path, family: str, least: int) -> list[Path]:
    """The pictures in a folder, at any depth, sorted; hidden files are none.

    Raises:
        InvalidFile: no such folder, no picture in it, or fewer than the family needs.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise InvalidFile(f"{folder} {what}: name a folder that holds pictures")
    kinds = formats()  # which also registers their endings
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in kinds}
    shown = (path for path in sorted(folder.rglob("*")) if not _hidden(path.relative_to(folder)))
    files = [path for path in shown if path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in endings]
    if not pictures:
        counts = Counter(path.suffix.lower() or "without an ending" for path in files).most_common(5)
        there = ", ".join(f"{count} {ending}" for ending, count in counts) or "no file at all"
        raise InvalidFile(f"{folder} holds no picture, but {there}; read are {', '.join(kinds)}: add some")
    if len(pictures) < least:
        raise InvalidFile(too_few(folder, family, least, len(pictures)))
    return pictures


def too_few(folder: Path, family: str, least: int, count: int) -> str:
    """The refusal of a folder that holds so few pictures."""
    return f"{folder} holds {count} pictures that can be learned, and {family} needs {least} at least: add some"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
