"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InvalidFile


@contextmanager
def whole(folder: Path, *, parents: bool = False) -> Iterator[Path]:
    """An empty folder that becomes ``folder`` once it is full, in the place of what is there; an error leaves what was
    there.

    Args:
        folder: what is made.
        parents: whether the folders that it lies in are made too.

    Raises:
        InvalidFile: the place cannot be written.
    """
    folder = folder.resolve()
    part, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{end}") for end in ("part", "old"))
    try:
        part.mkdir(parents=parents)
        yield part
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(part, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InvalidFile(
            f"cannot write {folder}: {error.strerror or error}. Nothing was left behind; choose another place"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
