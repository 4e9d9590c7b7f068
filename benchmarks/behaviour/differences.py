"""What differs between two results: nested dictionaries and lists of JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

#: What stands where the other tree has nothing.
ABSENT = "(absent)"


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """One text for each place where they differ: its path, and both values; of texts of several lines, the lines."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), f"{where} > {key}" if where else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif old != new:
        lines = _lines(old, new) if isinstance(old, str) and isinstance(new, str) else [f"  - {old}", f"  + {new}"]
        yield "\n".join((where, *lines))


def _lines(old: str, new: str) -> list[str]:
    """The lines that differ, each after where it stands in the old text."""
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return [f"  {line}" for line in found if not line.startswith(("---", "+++"))] or [f"  - {old!r}", f"  + {new!r}"]
