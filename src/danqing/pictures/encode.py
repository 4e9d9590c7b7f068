"""Pictures as the bytes of files: PNG, JPEG, WebP; the same picture gives the same bytes."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UnknownName
from . import svg
from .read import opened, over_white, plain

WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".svg": "SVG"}
NAMESPACE = "urn:danqing:record:1"


def format_of(path: Path) -> str:
    """PNG, JPEG, WEBP or SVG by the suffix.

    Raises:
        UnknownName: another suffix. InvalidInput: an SVG, which a package traces that is not installed.
    """
    if path.suffix.lower() not in WRITABLE:
        raise UnknownName("picture format", path.suffix or path.name, WRITABLE)
    found = WRITABLE[path.suffix.lower()]
    if found == "SVG":
        svg.check()
    return found


def to_bytes(image: Image.Image, encoding: Mapping[str, Any], **metadata: Any) -> bytes:
    """An image as a file's bytes; the same input gives the same bytes."""
    buffer = io.BytesIO()
    options = {"quality": encoding["quality"]} if "quality" in encoding else {}
    if encoding["format"] != "PNG":  # the others hold 8 bits of red, green and blue
        image = plain(image)
    if encoding["format"] == "JPEG":
        image, options = over_white(image), {**options, "subsampling": 0}
    image.save(buffer, encoding["format"], **options, **metadata)
    return buffer.getvalue()


def reread(data: bytes) -> Image.Image:
    """A file's bytes as `read.picture` sees them."""
    return opened(data, "the picture").convert("RGB" if data[:2] == b"\xff\xd8" else "RGBA")


def data_uri(image: Image.Image, **metadata: Any) -> str:
    """A picture in memory as a ``data:`` URI, PNG."""
    return "data:image/png;base64," + base64.b64encode(to_bytes(image, {"format": "PNG"}, **metadata)).decode()


def xmp(record: str) -> bytes:
    """The XMP packet that holds a record."""
    body = html.escape(record, quote=True)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:danqing="{NAMESPACE}" danqing:record="{body}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
