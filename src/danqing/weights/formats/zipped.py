"""The directory of a zip file, strictly: where each entry's bytes lie, and not a byte is unpacked.

The end record names the directory; a directory entry names its local header, behind which the bytes begin. What
torch.save writes is stored as it is, so that bytes are looked at in place and nothing can swell. Source: APPNOTE.TXT
6.3.10 of PKWARE.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

from .format import MAX_HEADER, MAX_TENSORS

END, END_64, LOCATOR_64, ENTRY, LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
#: What a 32-bit field says where the number stands in a 64-bit one.
ELSEWHERE = 0xFFFFFFFF


class Entry(NamedTuple):
    """The bytes ``start .. stop`` of the archive, and whether they are the entry's own: neither compressed nor
    encrypted."""

    start: int
    stop: int
    plain: bool


def entries(data: mmap.mmap) -> dict[str, Entry]:
    """Every entry by name.

    Raises:
        ValueError: truncated, of several disks, a directory out of bounds, entries that overlap, share a name, or have
            one that leads out of the archive.
    """
    count, first, end = _directory(data)
    at = first
    found: dict[str, Entry] = {}
    spans: list[tuple[int, int]] = []
    for _ in range(count):
        mark, _, _, flags, method, _, _, _, packed, size, *lengths, _, _, _, offset = struct.unpack_from(
            "<4s6H3L5H2L", data, at
        )
        name_at, extra_at, comment_at = at + 46, at + 46 + lengths[0], at + 46 + lengths[0] + lengths[1]
        at = comment_at + lengths[2]
        if mark != ENTRY or at > end:
            raise ValueError("its directory is damaged")
        name = data[name_at:extra_at]
        size, packed, offset = _wide(data[extra_at:comment_at], size, packed, offset)
        start = _local(data, offset, name)
        plain = method == 0 and not flags & 1
        if plain and size != packed:
            raise ValueError(f"{name!r} is said to have {size} bytes and {packed}")
        text = name.decode("utf-8")
        if text in found:
            raise ValueError(f"two entries are named {text!r}")
        if text.startswith(("/", "\\")) or ".." in text.replace("\\", "/").split("/") or ":" in text:
            raise ValueError(f"the entry {text!r} leads out of the archive")
        found[text] = Entry(start, start + packed, plain)
        spans.append((offset, start + packed))
    stop = 0
    for start, last in [*sorted(spans), (first, end)]:
        if start < stop:
            raise ValueError("its entries overlap, or one reaches into the directory")
        stop = last
    return found


def _directory(data: mmap.mmap) -> tuple[int, int, int]:
    """How many entries, and where the directory starts and stops."""
    end = len(data) - 22
    if end < 0 or data[end : end + 4] != END:
        raise ValueError("the archive is truncated: its end record is missing")
    disk, first, here, count, length, start, comment = struct.unpack_from("<4H2LH", data, end + 4)
    if end >= 20 and data[end - 20 : end - 16] == LOCATOR_64:
        (end,) = struct.unpack_from("<Q", data, end - 12)
        if end > len(data) - 98 or data[end : end + 4] != END_64:
            raise ValueError("its end record is damaged")
        disk, first, here, count, length, start = struct.unpack_from("<2L4Q", data, end + 16)
    if (
        disk
        or first
        or here != count
        or comment
        or start + length != end
        or length > MAX_HEADER
        or count > 2 * MAX_TENSORS
    ):
        raise ValueError("its end record is damaged")
    return count, start, end


def _wide(extra: bytes, *numbers: int) -> list[int]:
    """The size, the packed size and the offset, each from the 64-bit field where it stands there."""
    result, at = list(numbers), 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            missing = [i for i, number in enumerate(numbers) if number == ELSEWHERE]
            for i, number in zip(missing, struct.unpack_from(f"<{len(missing)}Q", extra, at + 4), strict=True):
                result[i] = number
        at += 4 + length
    return result


def _local(data: mmap.mmap, offset: int, name: bytes) -> int:
    """Where the bytes of the entry begin, whose local header must be of the same name."""
    mark, *_, length, extra = struct.unpack_from("<4s5H3L2H", data, offset)
    start = offset + 30 + length
    if mark != LOCAL or data[offset + 30 : start] != name:
        raise ValueError(f"the entry {name!r} is not where the directory says")
    return start + extra
