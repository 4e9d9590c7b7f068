"""What a picture file says of its making: its record, and the A1111 text."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidFile, InvalidInput
from ..inputs.parse import json_of
from ..request.request import Request
from ..request.upgrade import upgrade
from ..version import __version__
from . import png
from .files import record_beside
from .read import damaged_as, data_of, opened


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What a file says of its making.

    Args:
        record: the JSON that `write` put in, or None.
        parameters: the A1111 text, or None.
        format: PNG, JPEG, ...
    """

    record: Mapping[str, Any] | None
    parameters: str | None
    format: str


def carried_by(source: str | os.PathLike[str]) -> Carried:
    """What a picture file says of its making."""
    data, name = data_of(source)
    if data.lstrip()[:4] in (b"<?xm", b"<svg"):
        return Carried(record=_value(_from_xmp(data)), parameters=None, format="SVG")
    with opened(data, name) as image:
        xmp = image.info.get("xmp", b"")
        record = png.text(data, "danqing") or _from_xmp(xmp if isinstance(xmp, bytes) else str(xmp).encode())
        if not record and not os.fspath(source).startswith("data:") and record_beside(Path(source)).is_file():
            record = record_beside(Path(source)).read_text(encoding="utf-8", errors="replace")
        comment = damaged_as(None, lambda: image.getexif().get_ifd(0x8769).get(0x9286))
        parameters = png.text(data, "parameters") or _comment(comment)
        return Carried(
            record=_value(record),
            parameters=str(parameters) if parameters else None,
            format=str(image.format),
        )


def recorded(path: str | os.PathLike[str]) -> Request:
    """The request that a file was painted by.

    Raises:
        InvalidFile: the file carries no record, or a damaged one.
    """
    found = carried_by(path)
    if found.format == "SVG":
        raise InvalidFile(f"{path} holds curves, and what is replayed are pixels: replay the PNG that lies beside it")
    if found.record is None:
        more = " It carries A1111 parameters, which `danqing inspect` shows." if found.parameters else ""
        raise InvalidFile(f"{path} carries no danqing record, so there is nothing to replay.{more}")
    if isinstance(found.record.get("grid"), list):
        raise InvalidFile(f"{path} is the sheet of a grid: replay one of the pictures beside it")
    if not isinstance(found.record.get("request"), dict):
        raise InvalidFile(f"{path} carries a damaged danqing record: it holds no request")
    try:
        return Request(**upgrade(found.record)["request"])
    except InvalidInput as error:
        raise InvalidFile(f"the record in {path} is none that danqing {__version__} can paint: {error}") from None


def _value(record: str | None) -> dict[str, Any] | None:
    """The JSON object of a text; None where it is none."""
    try:
        value = json_of(record) if record else None
    except ValueError:
        value = None
    return value if isinstance(value, dict) else None


def _from_xmp(packet: bytes) -> str | None:
    """Our property alone, by pattern: an XML parser on a stranger's file is a risk and no gain."""
    found = re.search(rb'danqing:record="([^"]*)"', packet)
    try:
        return html.unescape(found[1].decode("utf-8", "replace")) if found else None
    except ValueError:  # a number of thousands of digits for a character
        return None


def _comment(value: Any) -> str | None:
    """EXIF UserComment: eight bytes name the encoding."""
    if not isinstance(value, bytes) or len(value) <= 8:
        return value if isinstance(value, str) else None
    code, rest = value[:8], value[8:]
    if code != b"UNICODE\0":
        return rest.decode("utf-8", "replace")
    big, little = rest.decode("utf-16-be", "replace"), rest.decode("utf-16-le", "replace")
    return little if "Steps:" in little and "Steps:" not in big else big  # the standard names no byte order
