"""A painted picture with everything that made it, and its writing.

Where the record goes: PNG text chunks ``danqing`` (JSON, iTXt) and ``parameters`` (A1111 text); JPEG and WebP carry the
JSON in an XMP packet, property ``danqing:record``, and the A1111 text in EXIF UserComment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ..errors import InvalidInput
from ..log import timed
from ..request import infotext
from ..request.request import Request, shorten
from ..request.upgrade import VERSION
from . import files, svg
from .encode import NAMESPACE, check_size, exif, format_of, to_bytes, xmp
from .places import portable

#: What one JPEG segment holds, less its headers.
SEGMENT = 65_000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a recipe yields last.

    Args:
        frames: RGB, H × W each; a still has one.
        request: resolved; painting it again on the same machine gives the same bytes.
        warnings: whatever was cut, ignored or tried again, in words.
        record: the machine, the precision, the versions and the model's hashes: what tells a changed result from
            another machine.
        timings: seconds by stage; not written into files, so that the same request gives the same file.
    """

    frames: tuple[Image.Image, ...]
    request: Request
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict[str, Any])
    timings: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def image(self) -> Image.Image:
        """The first frame."""
        return self.frames[0]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, quality: int = 95) -> Path:
        """Write PNG, JPEG or WebP by the suffix, with the request inside; an existing file is kept and the name
        numbered. Clips are animated PNG and WebP.

        Raises:
            InvalidInput: another suffix. InvalidFile: the folder cannot be written, or the disk is full; nothing is
                left behind.
        """
        with timed(f"{os.fspath(path)} written"):
            return write(self, Path(path), overwrite=overwrite, quality=quality)

    def show(self) -> None:
        """Open the first frame in the system's viewer of pictures."""
        self.image.show()

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the bytes of the PNG that `save` writes, with the record inside."""
        return _png(self)

    def __repr__(self) -> str:
        size, request = "×".join(map(str, self.image.size)), self.request
        frames = f", {len(self.frames)} frames" if len(self.frames) > 1 else ""
        words = f", {shorten(request.prompt)}" if request.prompt else ""
        return f"<Picture {size}{frames}{words}, seed {request.seed}, index {request.index}, by {request.model:.60}>"


def record_of(picture: Picture, encoding: Mapping[str, Any], whole: bool = True) -> dict[str, Any]:
    """What is written into a file: enough to paint the picture again and to judge the result.

    Args:
        whole: pictures that were given in memory are held too; else their hashes are.
    """
    return {
        "danqing": VERSION,
        "request": portable(picture.request.data(), whole),
        "record": dict(picture.record),
        "warnings": list(picture.warnings),
        "encoding": dict(encoding),
    }


def write(picture: Picture, path: Path, *, overwrite: bool = False, quality: int = 95) -> Path:
    """Write a picture with its record inside, beside and then renamed, so that the file is whole or absent.

    Returns:
        the path written: numbered (``fox-2.png``) where the name was taken and ``overwrite`` is not set.

    Raises:
        InvalidInput: a suffix other than .png .jpg .jpeg .webp .svg, one that holds no clip or no picture as large, or
            a quality outside 1 .. 100.
        InvalidFile: the folder cannot be written to, or the disk is full.
    """
    kind = format_of(path, len(picture.frames))
    check_size(path, *picture.image.size)
    if quality not in range(1, 101):
        raise InvalidInput(f"quality: {quality!r} was given; possible is a whole number from 1 to 100")
    encoding = {"format": kind} if kind == "PNG" else {"format": kind, "quality": quality}
    frames = picture.image, encoding, picture.frames[1:]
    if kind == "SVG":
        return files.put(
            path, svg.traced(picture.image, _texts(picture, {"format": kind})[0], NAMESPACE), overwrite=overwrite
        )
    if kind == "PNG":
        return files.put(path, _png(picture), overwrite=overwrite)
    record, parameters = _texts(picture, encoding)
    metadata = {"xmp": xmp(record), "exif": exif(parameters)}
    fitting = {key: value for key, value in metadata.items() if kind == "WEBP" or len(value) <= SEGMENT}
    if "xmp" in fitting:
        return files.put(path, to_bytes(*frames, **fitting), overwrite=overwrite)
    if not overwrite:  # what lies at the record's place may be of another program
        path = next(name for name in files.numbered(path) if not (name.exists() or files.record_beside(name).exists()))
    written = files.put(path, to_bytes(*frames, **fitting), overwrite=overwrite)
    files.put(files.record_beside(written), record.encode(), overwrite=True)
    return written


def _png(picture: Picture) -> bytes:
    """A picture as a PNG with its record."""
    encoding = {"format": "PNG"}
    return to_bytes(picture.image, encoding, picture.frames[1:], pnginfo=chunks(picture, encoding))


def _texts(picture: Picture, encoding: Mapping[str, Any], whole: bool = True) -> tuple[str, str]:
    """The record as JSON, and the A1111 text, of a picture that was finished alone the given one's; a file's name that
    is no Unicode stands in the one as JSON escapes it, and in the other with question marks."""
    record = json.dumps(record_of(picture, encoding, whole), ensure_ascii=False, separators=(",", ":"))
    parents = picture.record.get("parents") if picture.request.recipe == "finish" else None
    parameters = parents[0]["parameters"] if parents else infotext.write(picture.request, picture.record)
    return record.encode("utf-8", "backslashreplace").decode(), parameters.encode("utf-8", "replace").decode()


def chunks(picture: Picture, encoding: Mapping[str, Any], whole: bool = True) -> PngImagePlugin.PngInfo:
    """Both texts as a PNG carries them."""
    found = PngImagePlugin.PngInfo()
    record, parameters = _texts(picture, encoding, whole)
    found.add_itxt("danqing", record)
    found.add_text("parameters", parameters)
    return found
