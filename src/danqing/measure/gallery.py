"""A folder of pictures as one to compare with: all at one size, in an order that no folder decides, each with its
class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InvalidInput
from ..learn.data.folder import Folder
from ..noise import keyed
from ..pictures import read


def fitted(picture: Image.Image, size: int) -> Tensor:
    """The square in a picture's middle as (3, size, size) of bytes, over white; each pixel the mean of what it stands
    for."""
    picture = read.over_white(picture)
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    small = picture.resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side))
    return torch.from_numpy(np.asarray(small).copy()).movedim(-1, 0)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures of a folder and their classes.

    Any beginning of it is a fair sample of the whole, for the order is drawn by lot.

    Args:
        folder: where they lie.
        paths: of the pictures.
        classes: each one's, the name of the subfolder that it lies in; "" where it lies in none.
        notes: which files were skipped, and why.
    """

    folder: Path
    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, least: int = 2) -> Gallery:
        """What lies in a folder; files that are no whole pictures are skipped.

        Raises:
            InvalidFile: there is no such folder, or fewer than ``least`` pictures in it.
        """
        found = Folder(folder, size=8, batch=least)
        order = torch.randperm(len(found.pictures), generator=keyed("gallery"))
        paths = tuple(found.pictures[i] for i in order.tolist())
        within = (path.relative_to(folder).parts for path in paths)
        return cls(
            folder=folder,
            paths=paths,
            classes=tuple(parts[0] if len(parts) > 1 else "" for parts in within),
            notes=tuple(found.notes[1:]),
        )

    def first(self, count: int) -> Gallery:
        """The first so many.

        Raises:
            InvalidInput: there are not so many.
        """
        if not 1 <= count <= len(self.paths):
            raise InvalidInput(
                f"count: {count} was given, and {self.folder} holds {len(self.paths)} pictures: ask for at most so many"
            )
        return Gallery(folder=self.folder, paths=self.paths[:count], classes=self.classes[:count])

    def like(self, classes: Sequence[str]) -> Gallery:
        """Different pictures of these classes in this order, as far as there are any; for a class without one more, of
        another class."""
        left: dict[str, list[int]] = {}
        for i in reversed(range(len(self.paths))):
            left.setdefault(self.classes[i], []).append(i)
        chosen = [left[name].pop() if left.get(name) else -1 for name in classes]
        others = [i for some in left.values() for i in some]
        chosen = [i if i >= 0 or not others else others.pop() for i in chosen]
        kept = [i for i in chosen if i >= 0]
        return Gallery(
            folder=self.folder, paths=tuple(self.paths[i] for i in kept), classes=tuple(self.classes[i] for i in kept)
        )

    def pictures(self, size: int) -> Tensor:
        """(N, 3, size, size) of bytes."""
        return torch.stack([fitted(read.picture(path), size) for path in self.paths])
