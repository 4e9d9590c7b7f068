"""Pictures to learn from, out of a folder: any sizes and formats that Pillow reads, each step's a pure function of its
index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ...errors import InvalidFile, InvalidInput
from ...levels import from_arrays
from ...noise import keyed
from .order import Order

#: How many of the skipped files `Folder.notes` names.
NAMED = 20


def read(path: Path, size: int) -> Image.Image:
    """A picture, upright, in RGB, over white where it is transparent, enlarged or reduced so that its shorter side is
    ``size`` pixels; of several frames the first.

    Raises:
        InvalidFile: not there, no picture, truncated, or of more pixels than Pillow decodes without suspicion.
    """
    try:
        with Image.open(path) as opened:
            opened.draft(
                "RGB", (2 * size, 2 * size)
            )  # a JPEG is decoded at a fraction of its size, where that is enough
            picture = ImageOps.exif_transpose(opened)
            if picture.mode == "I" or picture.mode.startswith("I;16"):  # 16 bits; a plain conversion would clip at 255
                picture = picture.point(lambda v: v / 256).convert("L")
            if picture.has_transparency_data:
                cover = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", cover.size, "white"), cover)
            picture = picture.convert("RGB")
    except UnidentifiedImageError:
        raise InvalidFile(f"{path}: no picture, whatever its name says") from None
    except Exception as error:  # Pillow's decoders raise of every kind
        raise InvalidFile(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    scale = size / min(picture.size)
    width, height = (max(size, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


class Folder:
    """index -> pictures (B, 3, size, size) in [-1, 1]: random crops, every picture once an epoch.

    Every file is decoded once at the start. Those that are no whole pictures are left out, so that they cannot stop a
    run in its tenth hour; ``skipped`` lists them with their reasons, and ``notes`` says so in words.

    Args:
        path: the folder, with all that lies in it at any depth. A file counts by its ending; hidden ones do not.
        size: height and width in pixels, at least 1. The shorter side of a picture becomes so long before it is
            cropped.
        batch: how many a step takes, at least 1 and at most as many as there are.
        seed: keys the order, the crops and the mirroring.
        mirror: show half of the pictures mirrored left to right.

    Raises:
        InvalidFile: no such folder, no picture in it, or fewer than ``batch``; later, a picture that is there no more.
    """

    def __init__(self, path: Path, *, size: int, batch: int, seed: int | str = 0, mirror: bool = True):
        if size < 1 or batch < 1:
            raise InvalidInput(f"size and batch are whole numbers from 1, {size} and {batch} were given")
        if not path.is_dir():
            raise InvalidFile(f"there is no folder {path}: name one that holds pictures")
        self.path, self.size, self.seed, self.mirror = path, size, seed, mirror
        files = list(_files(path))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes without holding the interpreter
            reasons = list(pool.map(lambda file: _wrong(file, size), files))
        self.pictures = [file for file, reason in zip(files, reasons, strict=True) if reason is None]
        self.skipped = [(file, reason) for file, reason in zip(files, reasons, strict=True) if reason is not None]
        if len(self.pictures) < batch:
            there = f"{len(self.pictures)} pictures" if self.pictures else "no picture"
            more = (
                f", and {len(self.skipped)} files that cannot be read, e.g. {self.skipped[0][1]}"
                if self.skipped
                else ""
            )
            remedy = "add some" if not self.pictures else f"add some, or choose a batch of at most {len(self.pictures)}"
            raise InvalidFile(f"{path} holds {there}{more}: too few for a batch of {batch}; {remedy}")
        self.order = Order(len(self.pictures), batch, f"{seed}/order")

    @property
    def notes(self) -> list[str]:
        """What a person should know: how many pictures there are, and which files were skipped why."""
        said = [
            f"{self.path}: {len(self.pictures)} pictures"
            + (f", {len(self.skipped)} files skipped" if self.skipped else "")
        ]
        said += [f"skipped {reason}" for _, reason in self.skipped[:NAMED]]
        return [*said, f"and {len(self.skipped) - NAMED} more"] if len(self.skipped) > NAMED else said

    def __len__(self) -> int:
        return len(self.pictures)

    def __call__(self, index: int) -> Tensor:
        draw = keyed(self.seed, "crop", index)
        return from_arrays(np.stack([self._cropped(self.pictures[i], draw) for i in self.order(index).tolist()]))

    def _cropped(self, path: Path, draw: torch.Generator) -> np.ndarray:
        y, x, side = torch.rand(3, generator=draw).tolist()
        picture = np.asarray(read(path, self.size))  # (H, W, 3)
        top, left = int(y * (picture.shape[0] - self.size + 1)), int(x * (picture.shape[1] - self.size + 1))
        crop = picture[top : top + self.size, left : left + self.size]
        return crop[:, ::-1] if self.mirror and side < 0.5 else crop


def _files(path: Path) -> Iterator[Path]:
    """All picture files under a folder, in an order that no file system decides."""
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.suffix.lower() in endings and not hidden and file.is_file():
            yield file


def _wrong(path: Path, size: int) -> str | None:
    """Why a file cannot be learned from, or None."""
    try:
        read(path, size)
    except InvalidFile as error:
        return str(error)
    return None
