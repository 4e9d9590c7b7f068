"""What made a picture beyond its own request: the hashes of given pictures, and their own past, as kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from .carried import carried_by
from .read import data_of

#: How many pictures of the past are kept, and how much of each one's text.
KEPT, LONGEST = 8, 4_000


def hash_of(source: str) -> str:
    """The SHA-256 of a given picture's bytes."""
    return hashlib.sha256(data_of(source)[0]).hexdigest()


def parents(sources: Iterable[str]) -> list[dict[str, str]]:
    """The given pictures that say how they were made, each before its own past: their hashes, and what they carry in
    A1111's form."""
    found: list[dict[str, str]] = []
    for source in sources:
        carried = carried_by(source)
        if carried.parameters:
            found.append({"sha256": hash_of(source), "parameters": carried.parameters[:LONGEST]})
        found += past(carried.record)
    return found[:KEPT]


def past(record: Any) -> list[dict[str, str]]:
    """The parents that a picture's record names, as far as they are whole; a stranger may have written it."""
    inner = record.get("record") if isinstance(record, dict) else None
    named = inner.get("parents") if isinstance(inner, dict) else None
    every = [each for each in named if isinstance(each, dict)] if isinstance(named, list) else []
    return [{key: str(each.get(key, ""))[:LONGEST] for key in ("sha256", "parameters")} for each in every]
