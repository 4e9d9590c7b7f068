"""What differs between two results, which are values of JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import Any

#: What stands where the other tree has nothing: no value of JSON.
ABSENT = ("nothing",)


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """One text for each place where they differ: its path, and both values; of two texts, the lines that differ.

    Of a request only what the new one states is compared: what is left out is as if it had never been stated, which the
    pixels show.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new if where.endswith(" > request") else dict.fromkeys((*old, *new)):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), f"{where} > {key}" if where else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif type(old) is not type(new) or old != new:
        yield "\n".join(
            (where, *(_lines(old, new) if isinstance(old, str) and isinstance(new, str) else _both(old, new)))
        )


def _both(old: Any, new: Any) -> list[str]:
    return [f"  {sign} {value[0] if value is ABSENT else repr(value)}" for sign, value in (("-", old), ("+", new))]


def _lines(old: str, new: str) -> list[str]:
    """The lines that differ, after where they stand in the old text; the texts where they differ in line ends alone."""
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return [f"  {line}" for line in islice(found, 2, None)] or _both(old, new)  # the first two name the files
