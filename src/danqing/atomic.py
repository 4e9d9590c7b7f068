"""Files and folders that are written whole or not at all: beside their place first, then renamed onto it; and turns,
where several processes write to one place."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import InvalidFile

#: Seconds after which a hidden part that nobody writes to is one that a kill left.
FORSAKEN = 86_400.0


class Busy(InvalidFile):
    """Another process is writing to the place."""


@contextmanager
def alone(path: Path, seconds: float = -1) -> Iterator[None]:
    """Within the context nobody else is in one for this path, in any process or thread; a kill ends it too. Contexts
    of one thread for one path may lie in each other.

    The lock is a hidden file beside the path, which is removed with it.

    Args:
        seconds: how long to wait for whoever is in it; for ever where negative.

    Raises:
        Busy: somebody was in it for so long. InvalidFile: the folder is missing or takes no lock.
    """
    from filelock import FileLock, Timeout  # late, for it takes longer to load than most commands to begin

    lock = FileLock(path.parent / f".{path.name}.lock", is_singleton=True)
    try:
        os.stat(path.parent)  # which the library would make
        lock.acquire(timeout=seconds)
    except Timeout:
        raise Busy(f"another process is writing {path}: wait until it is done, or choose another place") from None
    except OSError as error:
        reason = error.strerror or str(error) if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise InvalidFile(f"cannot write {path}: {reason}. Choose another place") from None
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # Windows removes no file that is open, so there it is removed by the release
                os.unlink(lock.lock_file)
        lock.release()


def hidden(path: Path) -> Path:
    """A name beside a place that nothing has and no listing shows."""
    return path.with_name(f".{secrets.token_hex(6)}.part")


@contextmanager
def beside(path: Path, part: Path | None = None) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path`` and its name; where the block does not rename it, it is gone afterwards. What kills
    left of such files is removed a day later.

    Args:
        part: its name; a hidden one where not given. A file that has it already is written over, so others must be
            kept from it.
    """
    part = hidden(path) if part is None else part
    try:
        with part.open("wb") as file:
            yield file, part
    finally:  # also on Ctrl-C
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)
            for old in path.parent.glob(f".{'[0-9a-f]' * 12}.part"):
                if old.stat().st_mtime < time.time() - FORSAKEN:
                    old.unlink()


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
    there. No system exchanges two folders everywhere, so the old one is out of its place for a moment; a kill in it is
    mended by `restore`.

    Args:
        path: what is made.
        parents: whether the folders that it lies in are made too.

    Raises:
        InvalidFile: the place cannot be written, or another process has made it meanwhile.
    """
    path = path.resolve()
    part, old = path.with_name(f".{path.name}.part"), _old(path)
    there = path.exists() or old.exists()
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            restore(path)
            if path.exists() and not there:
                raise InvalidFile(f"another process has made {path} meanwhile, which stays: choose another place")
            for left in (part, old):  # by a kill
                shutil.rmtree(left, ignore_errors=True)
            part.mkdir()
            try:
                yield part
                _exchange(part, path, old)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise InvalidFile(
            f"cannot write {path}: {error.strerror or error}. Nothing was left behind; choose another place"
        ) from None


def _old(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def _exchange(part: Path, path: Path, old: Path) -> None:
    """A full folder comes to its place; what was there comes to the full one's, if anything was."""
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(part, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    if old.exists():
        os.replace(old, part)  # so that none that is half removed is ever restored


def restore(path: Path) -> None:
    """Bring a folder back that a kill has left out of its place; whoever reads folders that `folder` made asks first.
    Where that is not possible, it stays away."""
    old = _old(path)
    if os.path.exists(old) and not os.path.exists(path):
        with suppress(InvalidFile, OSError), alone(path):
            if not path.exists():
                os.replace(old, path)


def restored(within: Path, names: Iterable[str]) -> list[str]:
    """Of the names in a folder those that a kill has left out of their places; by what they are called in their places,
    where they are then."""
    found = [name[1 : -len(".old")] for name in names if name.startswith(".") and name.endswith(".old")]
    for name in found:
        restore(within / name)
    return [name for name in found if os.path.isdir(within / name)]
