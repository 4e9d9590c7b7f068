"""Records of earlier versions, as today's: a picture replays as long as its record can be brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InvalidInput
from . import flat

#: The version of the records that are written now; ``record["danqing"]`` holds it.
VERSION = 5

Record = Mapping[str, Any]

#: What version 1 wrote of fields that nobody had stated.
_UNSTATED = {"index": 0, "panorama": False, "mask_blur": 0, "refiner_at": 0.8, "strict": False}


def _grouped(record: Record) -> Record:
    """Version 1 knew no groups, wrote every field, added no style to a prompt, and before there were finishes had
    none."""
    old = {"finish": (), "style": "none", **record["request"]}
    stated = {name: value for name, value in old.items() if name not in _UNSTATED or value != _UNSTATED[name]}
    return {**record, "request": flat.nested(stated)}


def _drawn(record: Record) -> Record:
    """Version 2 knew no choices in prompts: what looks like them are words."""
    return {**record, "request": {**record["request"], "typed": {"template": "", "negative_template": ""}}}


def _plain(record: Record) -> Record:
    """Version 3 knew no engines."""
    return {**record, "request": {**record["request"], "engine": "torch"}}


def _whole(record: Record) -> Record:
    """Version 4 painted what a prompt places all at once, where it took steps."""
    request = record["request"]
    stepped = "sampling" in request and request.get("recipe", "text2image") == "text2image"
    return {**record, "request": {**request, "composition": {"scene": "whole"}} if stepped else request}


#: From a version to the next.
STEPS: Mapping[int, Callable[[Record], Record]] = {1: _grouped, 2: _drawn, 3: _plain, 4: _whole}


def upgrade(record: Record) -> Record:
    """A record of any version as one of `VERSION`.

    Raises:
        InvalidInput: it is of a version that is not known yet.
    """
    version = record.get("danqing", 1)
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InvalidInput(f"it is of version {version!r:.40}; possible are 1 to {VERSION}: use a newer danqing")
    for step in range(version, VERSION):
        record = STEPS[step](record)
    return {**record, "danqing": VERSION}
