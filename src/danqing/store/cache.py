"""What was found out about files before, so that nobody reads them again: kept in the user's cache, by path, size and
time."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import atomic
from ..version import __version__
from . import settings

#: Above so many entries, those of files that are gone are forgotten.
MANY = 4096


class Cache:
    """Facts about files, read when it is entered and written when it is left; each holds as long as the file is
    unchanged.

    It is a cache: one that is missing, damaged or cannot be written costs time and nothing else.
    """

    def __init__(self) -> None:
        self.path = settings.place("cache") / "library.json"
        self.known = self._read()
        self.new: dict[str, dict[str, Any]] = {}

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            entries = data["files"].items()
            if data["danqing"] == __version__:
                return {path: fact for path, fact in entries if isinstance(fact["stamp"], list)}
            # Another version may describe a file in other words; its bytes are the same.
            return {
                path: {"stamp": fact["stamp"], "sha256": fact["sha256"]} for path, fact in entries if "sha256" in fact
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {}

    def get(self, path: Path, fact: str) -> Any:
        """A fact about the file or folder as it is now, or None."""
        known = self.known.get(os.path.abspath(path), {})
        return known.get(fact) if known and known["stamp"] == stamp(path) else None

    def put(self, path: Path, fact: str, value: Any) -> None:
        """Remember a fact about the file or folder as it is now."""
        key, now = os.path.abspath(path), stamp(path)
        known = self.known.get(key, {})
        self.known[key] = self.new[key] = {**(known if known.get("stamp") == now else {}), "stamp": now, fact: value}

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.new:
            return
        files = {**self._read(), **self.new}  # another process may have written in between
        if len(files) > MANY:
            files = {path: fact for path, fact in files.items() if os.path.exists(path)}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"danqing": __version__, "files": files}, ensure_ascii=False)
            atomic.write(self.path, text.encode("utf-8", "backslashreplace"))  # a path need not be Unicode


def stamp(path: Path) -> list[int]:
    """Size and time of a file; of a folder the sum and the latest of its files."""
    try:
        if not path.is_dir():
            found = path.stat()
            return [found.st_size, found.st_mtime_ns]
        inside = [file.stat() for file in path.rglob("*") if file.is_file()]
        return [sum(one.st_size for one in inside), max((one.st_mtime_ns for one in inside), default=0)]
    except OSError:
        return [-1, -1]
