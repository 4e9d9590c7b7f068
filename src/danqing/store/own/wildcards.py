"""Lists of words: the text files in ``wildcards`` of the user's folder of settings, a word a line.

``__animal__`` is a line of ``wildcards/animal.txt``, ``__a/b__`` one of ``wildcards/a/b.txt``, ``__a/*__`` one of all
lists in ``wildcards/a``. Empty lines and those that begin with # are left out; ``3::red`` weighs 3.
"""

from __future__ import annotations

import os
import re
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

from ...errors import InvalidFile, InvalidInput
from ...prompt.templates import Lines, unknown
from .. import settings

#: The folder in that of settings.
FOLDER = "wildcards"


def folder() -> Path:
    """Where the lists lie."""
    return settings.place("config") / FOLDER


def known() -> list[str]:
    """The names of all lists."""
    root = folder()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.txt"))


def lines(name: str) -> Lines:
    """The lines of the lists that a name finds, those of several after one another.

    Raises:
        InvalidInput: there is none, or it is empty. InvalidFile: one cannot be read.
    """
    root, wanted = folder(), name.strip("/")
    if "*" not in wanted:
        found = [path] if (path := root / f"{wanted}.txt").is_file() and ".." not in Path(wanted).parts else []
    else:
        matches = re.compile(translate(wanted)).match
        found = [root / f"{each}.txt" for each in known() if matches(each)]
    if not found:
        raise unknown(name, known(), root)
    every = [_read(path, *_stamp(path)) for path in found]
    one = every[0] if len(every) == 1 else Lines.of([line for each in every for line in each.texts])
    if not one.texts:
        raise InvalidInput(f"the list of words {name!r} is empty: write a word a line into {found[0]}")
    return one


def _stamp(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> Lines:
    """A list as it is since it changed last."""
    try:
        rows = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot read the list of words {path}: {error}. Save it as text in UTF-8") from None
    return Lines.of([row.strip() for row in rows if row.strip() and not row.lstrip().startswith("#")])
