"""A folder's pictures and what each shows: a ``.txt`` of a picture's name beside it, or one text for all that have
none."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import InvalidFile
from ...learn.data.buckets import Size, nearest
from ...learn.data.folder import read
from ..found import found, too_few
from ..own import FIRST, NAMED, folder_name, named

#: The number of the EXIF tag that says how a picture lies.
ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Pictures in memory.

    Args:
        folder: its name, without its place.
        files: where each lies.
        pictures: (H, W, 3) of bytes each, of the sizes that they were cut to.
        captions: what each shows.
        notes: what a person should know: how many there are, of which sizes, without captions, left out.
    """

    folder: str
    files: tuple[Path, ...]
    pictures: tuple[np.ndarray, ...]
    captions: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path, sizes: Sequence[Size], *, caption: str, kind: str, least: int) -> Captioned:
        """The middle of each picture, at that of the sizes whose ratio is nearest to its own.

        Args:
            caption: of pictures without one; "" is the folder's name.
            kind: of what learns, for messages.

        Raises:
            InvalidFile: there are too few pictures, or too few that are whole and large enough; a caption is no text.
        """
        files = found(folder, kind, least)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            tried = list(pool.map(partial(_cut, sizes=sizes), files))
        there = [(file, each) for file, each in zip(files, tried, strict=True) if not isinstance(each, str)]
        out = [each for each in tried if isinstance(each, str)]
        if len(there) < least:
            raise InvalidFile("; ".join([too_few(folder, kind, least, len(there)), *named(out, FIRST)]))
        name = folder_name(folder)
        usual, texts = caption or name.replace("_", " ").replace("-", " "), [_caption(file) for file, _ in there]
        shapes = Counter(f"{each.shape[1]}×{each.shape[0]}" for _, each in there)
        notes = [f"{folder}: {len(there)} pictures of {', '.join(f'{n} px: {count}' for n, count in shapes.items())}"]
        if without := sum(text is None for text in texts):
            notes.append(f"without a caption, a .txt beside them, and called {usual!r}: {without}")
        return cls(
            folder=name,
            files=tuple(file for file, _ in there),
            pictures=tuple(each for _, each in there),
            captions=tuple(usual if text is None else text for text in texts),
            notes=(*notes, *named(out, NAMED)),
        )

    @property
    def identity(self) -> str:
        """Which pictures and captions these are: another one, or one that has changed, is told apart."""
        digest = hashlib.sha256()
        for picture, caption in zip(self.pictures, self.captions, strict=True):
            digest.update(repr((picture.shape, caption)).encode() + picture.tobytes())
        return f"{len(self.pictures)} of {self.folder} ({digest.hexdigest()[:12]})"


def _caption(picture: Path) -> str | None:
    """What the ``.txt`` beside a picture says, on one line; None where there is none.

    Raises:
        InvalidFile: it is no text in UTF-8.
    """
    path = picture.with_suffix(".txt")
    if not path.is_file():
        return None
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except (OSError, ValueError) as error:
        raise InvalidFile(f"{path} is no caption, a text in UTF-8: {error}. Save it as one, or remove it") from None


def _cut(path: Path, sizes: Sequence[Size]) -> np.ndarray | str:
    """A picture at the nearest of the sizes, (H, W, 3) of bytes, or why there is none."""
    try:
        with Image.open(path) as image:
            lies = image.getexif().get(ORIENTATION, 1) >= 5  # on its side, and is looked at upright
            own: Size = (image.height, image.width) if lies else image.size
        width, height = nearest(own, sizes)
        scale = max(width / own[0], height / own[1])
        if scale > 1:
            return (
                f"{path}: {own[0]}×{own[1]} is smaller than {width}×{height} pixels; --set size=N learns smaller ones"
            )
        picture = read(path, max(min(width, height), round(min(own) * scale)))
    except InvalidFile as error:
        return str(error)
    except Exception:  # a decoder may raise anything on a hostile file
        return f"{path}: no picture, whatever its name says"
    if picture.width < width or picture.height < height:  # a side is rounded
        picture = picture.resize((max(width, picture.width), max(height, picture.height)))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return np.asarray(picture.crop((left, top, left + width, top + height)))
