"""Pictures as the bytes of files: PNG, JPEG, WebP; the same picture gives the same bytes."""

from __future__ import annotations

import base64
import html
import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from ..errors import InvalidInput, UnknownName
from .read import opened, over_white, plain

#: Pixels along a side at most, as the formats' libraries write them.
SIDES = {"JPEG": 65_500, "WEBP": 16_383}
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".svg": "SVG"}
#: The formats that hold clips.
ANIMATED = ("PNG", "WEBP")
#: How long a frame of a clip is shown, in milliseconds: eight a second.
SHOWN = 125
NAMESPACE = "urn:danqing:record:1"


def format_of(path: Path, frames: int = 1) -> str:
    """PNG, JPEG, WEBP or SVG by the suffix, for a still or a clip.

    Raises:
        UnknownName: another suffix. InvalidInput: a format that holds no clip, for one; an SVG, which a package traces
            that is not installed.
    """
    if path.suffix.lower() not in WRITABLE:
        raise UnknownName("picture format", path.suffix or path.name, WRITABLE)
    found = WRITABLE[path.suffix.lower()]
    if frames > 1 and found not in ANIMATED:
        raise InvalidInput(f"{path.name} was given for a clip of {frames} frames; possible are .png and .webp")
    return found


def check_size(path: Path, width: float, height: float) -> None:
    """Refuse a picture that the format of a file's name cannot hold.

    Raises:
        InvalidInput: a side is too long.
    """
    most = SIDES.get(WRITABLE.get(path.suffix.lower(), ""), 2**31 - 1)
    if max(width, height) > most:
        raise InvalidInput(
            f"{path.name} would hold {width:.0f}×{height:.0f} pixels; possible are up to {most} along a side: "
            "write a .png"
        )


def to_bytes(
    image: Image.Image, encoding: Mapping[str, Any], later: Sequence[Image.Image] = (), **metadata: Any
) -> bytes:
    """An image, with the frames that follow it in a clip, as a file's bytes; the same input gives the same bytes."""
    buffer = io.BytesIO()
    options = {"quality": encoding["quality"]} if "quality" in encoding else {}
    if encoding["format"] != "PNG":  # the others hold 8 bits of red, green and blue
        image, *later = map(plain, (image, *later))
    if encoding["format"] == "JPEG":
        image, options = over_white(image), {**options, "subsampling": 0}
    if later:
        options = {**options, "save_all": True, "append_images": later, "duration": SHOWN, "loop": 0}
    image.save(buffer, encoding["format"], **options, **metadata)
    return buffer.getvalue()


def reread(data: bytes) -> list[Image.Image]:
    """The frames in a file's bytes, as `read.frames` sees them."""
    mode = "RGB" if data[:2] == b"\xff\xd8" else "RGBA"
    return [frame.convert(mode) for frame in ImageSequence.Iterator(opened(data, "the picture"))]


def data_uri(image: Image.Image, **metadata: Any) -> str:
    """A picture in memory as a ``data:`` URI, PNG."""
    return "data:image/png;base64," + base64.b64encode(to_bytes(image, {"format": "PNG"}, **metadata)).decode()


def exif(comment: str) -> bytes:
    """The EXIF block that holds a user comment, of the type UNDEFINED and in UTF-16 with the code before it that says
    so. Source: CIPA DC-008 (Exif 2.32), sections 4.6.2 and 4.6.5."""
    body = b"UNICODE\0" + comment.encode("utf-16-be", "replace")
    first = struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0)  # one entry: where the second directory lies, a LONG
    version = struct.pack(">HHHI4s", 2, 0x9000, 7, 4, b"0232")  # of two entries, the version that readers ask for
    second = version + struct.pack(">HHIII", 0x9286, 7, len(body), 56, 0)  # and the comment, behind them
    return b"Exif\0\0MM\0*" + (8).to_bytes(4, "big") + first + second + body


def xmp(record: str) -> bytes:
    """The XMP packet that holds a record."""
    body = html.escape(record, quote=True)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:danqing="{NAMESPACE}" danqing:record="{body}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
