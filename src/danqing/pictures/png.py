"""What lies in a PNG beside its pixels: texts and a colour profile, of any size within a bound, which Pillow refuses
together with the pixels.

Source: the PNG specification, third edition, section 11.3.3 (textual information) and 11.3.2.3 (iCCP).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: What is unpacked of one chunk at most, in bytes; a small file can claim any size.
MOST = 32 << 20
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
PROFILE = b"iCCP"


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the body of each whole chunk; none where the data are no PNG."""
    at = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def bare(data: bytes) -> bytes:
    """The same PNG without its texts and its profile."""
    parts = [SIGNATURE]
    for kind, body in chunks(data):
        if kind not in (*TEXTS, PROFILE):
            parts += [len(body).to_bytes(4, "big"), kind, body, zlib.crc32(kind + body).to_bytes(4, "big")]
    return b"".join(parts)


def text(data: bytes, keyword: str) -> str:
    """The text of a keyword, the last one where there are several; "" where there is none, or none that can be read."""
    found = ""
    for kind, body in chunks(data):
        name, _, rest = body.partition(b"\0")
        if kind not in TEXTS or name != keyword.encode():
            continue
        packed, language = kind == b"zTXt", kind == b"iTXt"
        if language:  # a flag, a method, and two more texts before the one that is meant
            packed = rest[:1] == b"\1"
            rest = rest[1:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        raw = _unpacked(rest[1:]) if packed else rest[1:] if language else rest
        found = raw.decode("utf-8" if language else "latin-1", "replace")
    return found


def profile(data: bytes) -> bytes:
    """The colour profile; b"" where there is none, or none that can be read."""
    packed = next((body.partition(b"\0")[2][1:] for kind, body in chunks(data) if kind == PROFILE), b"")
    return _unpacked(packed)


def _unpacked(data: bytes) -> bytes:
    """Nothing of what is damaged, or larger than `MOST`."""
    machine = zlib.decompressobj()
    try:
        found = machine.decompress(data, MOST)
    except zlib.error:
        return b""
    return b"" if machine.unconsumed_tail else found
