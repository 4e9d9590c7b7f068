"""Paths as a picture's file tells them: no reader learns a user's name, its owner finds the files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

#: The fields of a request that are words, whatever they look like.
WORDS = frozenset({"prompt", "negative", "style", "kind"})
#: Before the SHA-256 of a picture that was given in memory, where a record does not repeat it.
CONTENT = "sha256:"


def portable(data: Any, whole: bool = True, name: str = "") -> Any:
    """A request's data with paths from the home folder, as ``~/fox.png``, or from the root of the disk.

    Args:
        whole: pictures that were given in memory stay in it; else their hashes do.
        name: of the field.
    """
    if isinstance(data, dict):
        return {key: portable(value, whole, key) for key, value in data.items()}
    if isinstance(data, list):
        return [portable(value, whole, name) for value in data]
    if not isinstance(data, str) or name in WORDS:
        return data
    if data.startswith("data:"):
        return data if whole else CONTENT + hashlib.sha256(data.encode()).hexdigest()
    return shortened(data)


def shortened(path: str) -> str:
    """A file's path from the home folder or the root of the disk; what is no path of a file or folder as it is."""
    given = os.path.expanduser(path)
    try:
        there = os.path.isfile(given) or (len(Path(given).parts) > 1 and os.path.isdir(given))
    except ValueError:  # a NUL
        there = False
    if not there:
        return path
    absolute, home = Path(os.path.abspath(given)), Path.home()
    return f"~/{absolute.relative_to(home).as_posix()}" if absolute.is_relative_to(home) else str(absolute)
