"""Pictures in and out of files: hostile input refused with a reason, output written whole or not at all.

Where the record goes: PNG text chunks ``danqing`` (JSON, iTXt) and ``parameters`` (A1111 text); JPEG and WebP carry the
JSON in an XMP packet, property ``danqing:record``, and the A1111 text in EXIF UserComment.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import html
import io
import json
import os
import re
import secrets
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, ImageOps, PngImagePlugin

from .. import __version__
from ..errors import InvalidFile, InvalidInput, UnknownName
from . import infotext, vector
from .picture import Picture
from .request import Request

T = TypeVar("T")

#: More than this is refused before it is decoded: a small file can claim any size.
MAX_PIXELS = 64_000_000
READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".svg": "SVG"}
NAMESPACE = "urn:danqing:record:1"
#: What one JPEG segment holds, less its headers.
SEGMENT = 65_000


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


# ---------------------------------------------------------------------------------------------------------- reading


def data_of(source: str | os.PathLike[str]) -> tuple[bytes, str]:
    """The bytes of a file or of a ``data:`` URI, and a name for messages.

    Raises:
        InvalidFile: not there, not a file, or not readable.
    """
    given = os.fspath(source)
    if given.startswith("data:"):
        try:
            return base64.b64decode(given.partition(",")[2], validate=True), "the data: URI"
        except ValueError as error:
            raise InvalidFile(
                f"the data: URI is not base64 ({error}); it reads data:image/png;base64,iVBOR..."
            ) from None
    path = Path(os.path.expanduser(given))  # which leaves the home of nobody as it is, where pathlib raises
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a device may never end, a pipe is empty the second time
            raise InvalidFile(f"{path} is a folder, a device or a pipe: name a picture file")
        if found.st_size > 1 << 30:
            raise InvalidFile(f"{path} has {found.st_size >> 20} MiB, which no picture here needs; at most 1024")
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        raise UnknownFile(path) from None
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot read {given[:200]!r}: {getattr(error, 'strerror', None) or error}") from None


class UnknownFile(InvalidFile):
    """A file that is not there; names its nearest neighbour."""

    def __init__(self, path: Path):
        import difflib

        try:
            there = os.listdir(path.parent)
        except OSError:
            there = []
        near = difflib.get_close_matches(path.name, there, n=1)
        hint = f" Did you mean {str(path.parent / near[0])!r}?" if near else ""
        super().__init__(f"there is no file {str(path)!r}.{hint}")


def read(source: str | os.PathLike[str]) -> Image.Image:
    """A picture, upright, decoded, as RGB or RGBA.

    Raises:
        InvalidFile: missing, not a picture, truncated, or of more than 64 million pixels.
    """
    return plain(whole(source)[0])


def whole(source: str | os.PathLike[str]) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture, upright, decoded, in its own mode with its ICC profile; and what of the file it does not hold.

    Raises:
        InvalidFile: as `read`.
    """
    data, name = data_of(source)
    with _opened(data, name) as image:
        frames = _damaged_as(1, lambda: getattr(image, "n_frames", 1))
        deep = image.format == "PNG" and data[24] == 16 and image.mode in ("RGB", "RGBA")  # the header's depth in bits
        said = [f"{name} holds {frames} pictures, of which the first was taken."] if frames > 1 else []
        said += [f"{name} has 16 bits a colour, of which 8 were read."] if deep else []
        return _damaged_as(image, _upright, image), tuple(said)


def plain(image: Image.Image) -> Image.Image:
    """Any mode as RGB, or RGBA where something is transparent, 8 bits a colour."""
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits; a plain conversion would clip at 255
        image = image.point(lambda v: v / 256).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)


def _opened(data: bytes, name: str) -> Image.Image:
    """A decoded image from untrusted bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=READABLE)
        except Image.DecompressionBombError:
            raise _bomb(name, "far too many") from None
        except Exception:  # a decoder may raise anything on a hostile file
            kinds = ", ".join(READABLE)
            raise InvalidFile(
                f"{name} is not a picture that danqing reads ({len(data)} bytes); possible are {kinds}"
            ) from None
        if image.width * image.height > MAX_PIXELS:
            raise _bomb(name, f"{image.width}×{image.height}")
        try:
            image.load()
        except Exception as error:
            raise InvalidFile(
                f"{name} is a damaged or truncated {image.format} file ({error}): copy or export it again"
            ) from None
    return image


def _bomb(name: str, size: str) -> InvalidFile:
    return InvalidFile(
        f"{name} claims {size} pixels; at most {MAX_PIXELS // 1_000_000} million are read: make it smaller first"
    )


def over_white(image: Image.Image) -> Image.Image:
    """RGB, with what is transparent shown on white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def read_mask(mask: str | None, image: Image.Image) -> Image.Image:
    """What to repaint, L of the picture's size, 255 wholly: the mask's brightness, or where the picture is transparent.

    Raises:
        InvalidInput: no mask and no transparency, another size than the picture, or nothing to repaint.
    """
    if mask is not None:
        given = read(mask)
        if given.mode == "RGBA":  # white strokes on nothing
            given = Image.alpha_composite(Image.new("RGBA", given.size, "black"), given)
        found = given.convert("L")
    elif image.mode == "RGBA":
        found = ImageOps.invert(image.getchannel("A"))
    else:
        raise InvalidInput("inpaint has no mask: give one (white is repainted), or a picture with transparent parts")
    if found.size != image.size:
        ours, theirs = "×".join(map(str, found.size)), "×".join(map(str, image.size))
        raise InvalidInput(f"the mask is {ours} and the picture {theirs}: make the mask the picture's size")
    if not found.getbbox():
        raise InvalidInput("the mask is black all over, so nothing would be repainted: paint white what should change")
    return found


def data_uri(image: Image.Image, **metadata: Any) -> str:
    """A picture in memory as a ``data:`` URI, PNG."""
    return "data:image/png;base64," + base64.b64encode(encode(image, {"format": "PNG"}, **metadata)).decode()


def carried(source: str | os.PathLike[str]) -> Carried:
    """What a picture file says of its making."""
    data, name = data_of(source)
    if data.lstrip()[:4] in (b"<?xm", b"<svg"):
        return Carried(record=_value(_from_xmp(data)), parameters=None, format="SVG")
    with _opened(data, name) as image:
        text = getattr(image, "text", {}) if image.format == "PNG" else {}
        xmp = image.info.get("xmp", b"")
        record = text.get("danqing") or _from_xmp(xmp if isinstance(xmp, bytes) else str(xmp).encode())
        if not record and not os.fspath(source).startswith("data:") and beside(Path(source)).is_file():
            record = beside(Path(source)).read_text(encoding="utf-8", errors="replace")
        comment = _damaged_as(None, lambda: image.getexif().get_ifd(0x8769).get(0x9286))
        parameters = text.get("parameters") or _comment(comment)
        return Carried(
            record=_value(record),
            parameters=str(parameters) if parameters else None,
            format=str(image.format),
        )


def _value(record: str | None) -> dict[str, Any] | None:
    """The JSON object of a text; None where it is none."""
    try:
        value = json.loads(record) if record else None
    except ValueError:
        value = None
    return value if isinstance(value, dict) else None


def recorded(path: str | os.PathLike[str]) -> Request:
    """The request that a file was painted by.

    Raises:
        InvalidFile: the file carries no record, or a damaged one.
    """
    found = carried(path)
    if found.format == "SVG":
        raise InvalidFile(f"{path} holds curves, and what is replayed are pixels: replay the PNG that lies beside it")
    if found.record is None:
        more = " It carries A1111 parameters, which `danqing inspect` shows." if found.parameters else ""
        raise InvalidFile(f"{path} carries no danqing record, so there is nothing to replay.{more}")
    if not isinstance(found.record.get("request"), dict):
        raise InvalidFile(f"{path} carries a damaged danqing record: it holds no request")
    try:
        return Request(**{"finish": (), **found.record["request"]})  # records of before there were finishes had none
    except InvalidInput as error:
        raise InvalidFile(f"the record in {path} is none that danqing {__version__} can paint: {error}") from None


def _damaged_as(instead: T, f: Callable[..., T], *args: Any) -> T:
    """What reads EXIF may raise anything where it is damaged; a picture without EXIF is still a picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return f(*args)
        except Exception:
            return instead


def _from_xmp(packet: bytes) -> str | None:
    """Our property alone, by pattern: an XML parser on a stranger's file is a risk and no gain."""
    found = re.search(rb'danqing:record="([^"]*)"', packet)
    return html.unescape(found[1].decode("utf-8", "replace")) if found else None


def _comment(value: Any) -> str | None:
    """EXIF UserComment: eight bytes name the encoding."""
    if not isinstance(value, bytes) or len(value) <= 8:
        return value if isinstance(value, str) else None
    code, rest = value[:8], value[8:]
    if code != b"UNICODE\0":
        return rest.decode("utf-8", "replace")
    big, little = rest.decode("utf-16-be", "replace"), rest.decode("utf-16-le", "replace")
    return little if "Steps:" in little and "Steps:" not in big else big  # the standard names no byte order


# ---------------------------------------------------------------------------------------------------------- writing


def record_of(picture: Picture, encoding: Mapping[str, Any]) -> dict[str, Any]:
    """What is written into a file: enough to paint the picture again and to judge the result."""
    return {
        "danqing": 1,
        "request": picture.request.model_dump(mode="json"),
        "record": dict(picture.record),
        "warnings": list(picture.warnings),
        "encoding": dict(encoding),
    }


def encode(image: Image.Image, encoding: Mapping[str, Any], **metadata: Any) -> bytes:
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
    """A file's bytes as `read` sees them."""
    return _opened(data, "the picture").convert("RGB" if data[:2] == b"\xff\xd8" else "RGBA")


def write(picture: Picture, path: Path, *, overwrite: bool = False, quality: int = 95) -> Path:
    """Write a picture with its record inside, beside and then renamed, so that the file is whole or absent.

    Returns:
        the path written: numbered (``fox-2.png``) where the name was taken and ``overwrite`` is not set.

    Raises:
        InvalidInput: a suffix other than .png .jpg .jpeg .webp .svg, or a quality outside 1 .. 100.
        InvalidFile: the folder cannot be written to, or the disk is full.
    """
    kind = format_of(path)
    if quality not in range(1, 101):
        raise InvalidInput(f"quality: {quality!r} was given; possible is a whole number from 1 to 100")
    encoding = {"format": kind} if kind == "PNG" else {"format": kind, "quality": quality}
    if kind == "SVG":
        return put(
            path, vector.svg(picture.image, _texts(picture, {"format": kind})[0], NAMESPACE), overwrite=overwrite
        )
    if kind == "PNG":
        return put(path, encode(picture.image, encoding, pnginfo=chunks(picture, encoding)), overwrite=overwrite)
    record, parameters = _texts(picture, encoding)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + parameters.encode("utf-16-be")
    metadata = {"xmp": _to_xmp(record), "exif": exif.tobytes()}
    fitting = {key: value for key, value in metadata.items() if kind == "WEBP" or len(value) <= SEGMENT}
    if "xmp" in fitting:
        return put(path, encode(picture.image, encoding, **fitting), overwrite=overwrite)
    if not overwrite:  # what lies at the record's place may be of another program
        path = next(name for name in numbered(path) if not (name.exists() or beside(name).exists()))
    written = put(path, encode(picture.image, encoding, **fitting), overwrite=overwrite)
    put(beside(written), record.encode(), overwrite=True)
    return written


def _texts(picture: Picture, encoding: Mapping[str, Any]) -> tuple[str, str]:
    """The record as JSON, and the A1111 text."""
    record = json.dumps(record_of(picture, encoding), ensure_ascii=False, separators=(",", ":"))
    return record, infotext.write(picture.request, picture.record)


def chunks(picture: Picture, encoding: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    """Both texts as a PNG carries them."""
    found = PngImagePlugin.PngInfo()
    record, parameters = _texts(picture, encoding)
    found.add_itxt("danqing", record)
    found.add_text("parameters", parameters)
    return found


def beside(path: Path) -> Path:
    """Where a record lies that its picture could not hold: a JPEG whose prompts or embedded pictures exceed one
    segment."""
    return path.with_name(path.name + ".json")


def _to_xmp(record: str) -> bytes:
    body = html.escape(record, quote=True)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:danqing="{NAMESPACE}" danqing:record="{body}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def format_of(path: Path) -> str:
    """PNG, JPEG, WEBP or SVG by the suffix.

    Raises:
        UnknownName: another suffix. InvalidInput: an SVG, which a package traces that is not installed.
    """
    if path.suffix.lower() not in WRITABLE:
        raise UnknownName("picture format", path.suffix or path.name, WRITABLE)
    found = WRITABLE[path.suffix.lower()]
    if found == "SVG":
        vector.ready()
    return found


def put(path: Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write bytes whole or not at all: a hidden file beside, then one atomic step to the name.

    Raises:
        InvalidFile: no such folder, no right to write, no room.
    """
    part = path.parent / f".{secrets.token_hex(6)}.part"
    made = False
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        made = True
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(part, path)
            return path
        return next(name for name in numbered(path) if _claim(part, name))
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise InvalidFile(_unwritable(path, error)) from None
    finally:  # also on Ctrl-C
        if made:
            part.unlink(missing_ok=True)


def numbered(path: Path) -> Iterator[Path]:
    """``fox.png``, ``fox-2.png``, ``fox-3.png`` and so on."""
    yield path
    for number in range(2, 1_000_000):
        yield path.with_stem(f"{path.stem}-{number}")
    raise InvalidFile(f"a million names like {path} are taken: choose another")


def free(path: Path) -> Path:
    """The first of the numbered names that is not taken yet."""
    return next(name for name in numbered(path) if not name.exists())


def _claim(part: Path, name: Path) -> bool:
    """Give a written file its name if the name is free; whether it was."""
    if name.exists():
        return False
    try:
        os.link(part, name)  # fails where another process was faster
    except FileExistsError:
        return False
    except OSError:  # a filesystem without links
        os.replace(part, name)
    return True


def _unwritable(path: Path, error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk of {path.parent} is full, so {path.name} was not written and nothing is left behind: "
            "make room or choose -o"
        )
    if number == errno.ENAMETOOLONG:
        return (
            f"the name {path.name[:40]}… of {len(path.name)} characters is too long for this disk: choose a "
            "shorter one with -o"
        )
    if number in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
        return f"there is no folder {path.parent}: make it, or choose another with -o"
    return f"cannot write {path}: {getattr(error, 'strerror', None) or error}. Choose a folder you may write to with -o"


def writable(path: Path) -> None:
    """Find out before painting that a folder takes files, and one of this name.

    Raises:
        InvalidFile: it does not.
    """
    probe = path.parent / f".{secrets.token_hex(6)}.part"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # fails where the name itself cannot be
    except (OSError, ValueError) as error:
        raise InvalidFile(_unwritable(path, error)) from None


def slug(text: str, length: int = 40) -> str:
    """A prompt as part of a file's name: letters of any script, digits and hyphens."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"[\W_]+", "-", plain).strip("-")[:length].strip("-") or "picture"


def fill(pattern: str, values: Mapping[str, Any]) -> str:
    """A name from a pattern such as ``{prompt}-{seed}.png``.

    Raises:
        UnknownName: a field that is not among ``values``.
    """

    def one(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise UnknownName("field of a file name", match[1], values)
        return str(values[match[1]])

    return re.sub(r"\{(\w+)\}", one, pattern)
