"""Files and folders that are written whole or not at all: beside their place first, then renamed onto it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import InvalidFile


def hidden(path: Path) -> Path:
    """A name beside a place that nothing has and no listing shows."""
    return path.with_name(f".{secrets.token_hex(6)}.part")


@contextmanager
def beside(path: Path, part: Path | None = None) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path`` and its name; where the block does not rename it, it is gone afterwards.

    Args:
        part: its name; a hidden one where not given. A file that has it already is written over.
    """
    part = hidden(path) if part is None else part
    try:
        with part.open("wb") as file:
            yield file, part
    finally:  # also on Ctrl-C
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


def keep(file: BinaryIO) -> None:
    """Have all that was written on the disk, so that a power cut after the renaming leaves no empty file."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def writing(path: Path, part: Path | None = None) -> Iterator[BinaryIO]:
    """A file that becomes ``path`` once the block ends; an error leaves what was there. ``part`` is as in `beside`.

    Raises:
        OSError: the place cannot be written.
    """
    with beside(path, part) as (file, name):
        yield file
        keep(file)
        file.close()  # before the renaming, which Windows refuses for an open file
        os.replace(name, path)


def write(path: Path, data: bytes) -> None:
    """Bytes to a file, whole or not at all.

    Raises:
        OSError: the place cannot be written.
    """
    with writing(path) as file:
        file.write(data)


@contextmanager
def folder(path: Path, *, parents: bool = False) -> Iterator[Path]:
    """An empty folder that becomes ``path`` once it is full, in the place of what is there; an error leaves what was
    there.

    Args:
        path: what is made.
        parents: whether the folders that it lies in are made too.

    Raises:
        InvalidFile: the place cannot be written.
    """
    path = path.resolve()
    part, old = (path.with_name(f".{path.name}.{secrets.token_hex(4)}.{end}") for end in ("part", "old"))
    try:
        part.mkdir(parents=parents)
        yield part
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(part, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InvalidFile(
            f"cannot write {path}: {error.strerror or error}. Nothing was left behind; choose another place"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
