"""A folder's pictures as squares in memory, its sub-folders as classes."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import InvalidFile
from ..learn.data.folder import read
from ..learn.data.labelled import Labelled
from .found import found, too_few

#: How many of the files that were left out are named, and in a refusal.
NAMED, FIRST = 20, 3


@dataclass(frozen=True, kw_only=True)
class Own(Labelled):
    """Pictures of somebody's own.

    Args:
        folder: its name, without its place.
        files: where each picture lies.
        notes: what a person should know: how many there are, and which were left out why.
    """

    folder: str
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path, size: int, *, family: str, least: int) -> Own:
        """The middle square of each picture at ``size`` pixels a side, its class by the sub-folder, or else the
        folder's own name.

        Raises:
            InvalidFile: there are too few, or too few that are whole and no smaller than ``size``.
        """
        name, files = folder_name(folder), found(folder, family, least)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes without holding the interpreter
            read_all = list(pool.map(partial(_square, size=size), files))
        there = [(file, each) for file, each in zip(files, read_all, strict=True) if not isinstance(each, str)]
        out = [each for each in read_all if isinstance(each, str)]
        if len(there) < least:
            raise InvalidFile("; ".join([too_few(folder, family, least, len(there)), *named(out, FIRST)]))
        parts = [file.relative_to(folder).parts for file, _ in there]
        kinds = [each[0] if len(each) > 1 else name for each in parts]
        names = tuple(sorted(set(kinds)))
        many = f" of {len(names)} classes" if len(names) > 1 else ""
        return cls(
            pictures=torch.from_numpy(np.stack([each for _, each in there])).movedim(-1, 1).contiguous(),
            labels=torch.tensor([names.index(kind) for kind in kinds]),
            names=names,
            folder=name,
            files=tuple(file for file, _ in there),
            notes=(f"{folder}: {len(there)} pictures{many}", *named(out, NAMED)),
        )

    @property
    def identity(self) -> str:
        """Which pictures these are: another one, or one that has changed, is told apart."""
        digest = hashlib.sha256(self.pictures.numpy().tobytes() + self.labels.numpy().tobytes())
        return f"{len(self.pictures)} of {self.folder} ({digest.hexdigest()[:12]})"

    def spread(self, count: int) -> torch.Tensor:
        """So many pictures, (count, 3, S, S) of bytes, evenly from the first to the last."""
        return self.pictures[torch.arange(count) * len(self.pictures) // count]


def folder_name(folder: Path) -> str:
    """What a folder is called, without its place."""
    return folder.resolve().name or "pictures"


def named(reasons: list[str], most: int) -> list[str]:
    """What was left out, so many of it by name."""
    more = [f"left out: {len(reasons) - most} more"] if len(reasons) > most else []
    return [*(f"left out: {reason}" for reason in reasons[:most]), *more]


def _square(path: Path, size: int) -> np.ndarray | str:
    """A picture's middle, (size, size, 3) of bytes, or why there is none."""
    try:
        with Image.open(path) as image:
            small = min(image.size) < size and f"{image.width}×{image.height}"
        picture = read(path, size)
    except InvalidFile as error:
        return str(error)
    except Exception:  # a decoder may raise anything on a hostile file
        return f"{path}: no picture, whatever its name says"
    if small:
        return f"{path}: {small} is smaller than {size} pixels, which --set size=N changes"
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)))
