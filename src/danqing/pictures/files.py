"""Files in a folder that a person sees: their names, and bytes written to them whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import atomic
from ..errors import InvalidFile, UnknownName


def put(path: Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write bytes whole or not at all: a hidden file beside, then one atomic step to the name.

    Raises:
        InvalidFile: no such folder, no right to write, no room.
    """
    try:
        if overwrite:
            atomic.write(path, data)
            return path
        with atomic.beside(path) as (file, part):
            file.write(data)
            atomic.keep(file)
            file.close()
            return next(name for name in numbered(path) if _claim(part, name))
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise InvalidFile(_unwritable(path, error)) from None


def numbered(path: Path) -> Iterator[Path]:
    """``fox.png``, ``fox-2.png``, ``fox-3.png`` and so on."""
    yield path
    for number in range(2, 1_000_000):
        yield path.with_stem(f"{path.stem}-{number}")
    raise InvalidFile(f"a million names like {path} are taken: choose another")


def free(path: Path) -> Path:
    """The first of the numbered names that is not taken yet."""
    return next(name for name in numbered(path) if not name.exists())


def record_beside(path: Path) -> Path:
    """Where a record lies that its picture could not hold: a JPEG whose prompts or embedded pictures exceed one
    segment."""
    return path.with_name(path.name + ".json")


def _claim(part: Path, name: Path) -> bool:
    """Give a written file its name if the name is free; whether it was."""
    if name.exists():
        return False
    try:
        os.link(part, name)  # fails where another process was faster
    except FileExistsError:
        return False
    except OSError:  # a filesystem without links
        with atomic.alone(name):
            if name.exists():
                return False
            os.replace(part, name)
    return True


def _unwritable(path: Path, error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk of {path.parent} is full, so {path.name} was not written and nothing is left behind: "
            "make room or choose -o"
        )
    if number == errno.ENAMETOOLONG:
        return (
            f"the name {path.name[:40]}… of {len(path.name)} characters is too long for this disk: choose a "
            "shorter one with -o"
        )
    if number in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
        return f"there is no folder {path.parent}: make it, or choose another with -o"
    return f"cannot write {path}: {getattr(error, 'strerror', None) or error}. Choose a folder you may write to with -o"


def writable(path: Path) -> None:
    """Find out before painting that a folder takes files, and one of this name.

    Raises:
        InvalidFile: it does not.
    """
    try:
        with atomic.beside(path):
            pass
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # fails where the name itself cannot be
    except (OSError, ValueError) as error:
        raise InvalidFile(_unwritable(path, error)) from None


def slug(text: str, length: int = 40) -> str:
    """A prompt as part of a file's name: letters of any script, digits and hyphens."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"[\W_]+", "-", plain).strip("-")[:length].strip("-") or "picture"


def stem(source: str, most: int = 200) -> str:
    """What a picture's file is called, without its ending; of a name of more bytes its begin and a sum of the whole, so
    that two names stay two. What is no file is called picture."""
    if source.startswith("data:"):
        return "picture"
    whole = os.fsencode(Path(source).stem)
    if len(whole) <= most:
        return Path(source).stem
    return whole[:most].decode("utf-8", "ignore") + "~" + hashlib.sha256(whole).hexdigest()[:8]


def fill(pattern: str, values: Mapping[str, Any]) -> str:
    """A name from a pattern such as ``{prompt}-{seed}.png``.

    Raises:
        UnknownName: a field that is not among ``values``.
    """

    def one(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UnknownName("field of a file name", match[1], values)
        return str(values[match[1]])

    return re.sub(r"\{(\w+)\}", one, pattern)
