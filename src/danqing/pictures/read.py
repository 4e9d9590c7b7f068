"""Pictures out of files: hostile input is refused with a reason."""

from __future__ import annotations

import base64
import io
import logging
import os
import stat
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, ImageOps, ImageSequence

from ..errors import InvalidFile, InvalidInput, nearest
from ..log import log
from . import png, srgb

T = TypeVar("T")
#: What Pillow logs of a damaged file, our error says.
logging.getLogger("PIL").addHandler(logging.NullHandler())


#: More than this is refused before it is decoded: a small file can claim any size.
MAX_PIXELS = 64_000_000
READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
#: TIFF's tag of the bits that each channel has.
BITS_PER_SAMPLE = 258


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
        log.info("opened %s", path)
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        raise UnknownFile(path) from None
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot read {given[:200]!r}: {getattr(error, 'strerror', None) or error}") from None


class UnknownFile(InvalidFile):
    """A file that is not there; names its nearest neighbour."""

    def __init__(self, path: Path):
        try:
            there = os.listdir(path.parent)
        except OSError:
            there = []
        found = nearest(path.name, there)
        hint = f" Did you mean {str(path.parent / found[0])!r}?" if found else ""
        super().__init__(f"there is no file {str(path)!r}.{hint}")


def picture(source: str | os.PathLike[str]) -> Image.Image:
    """A picture, upright, decoded, as RGB or RGBA, its colours those of sRGB.

    Raises:
        InvalidFile: missing, not a picture, truncated, or of more than 64 million pixels.
    """
    return plain(srgb.converted(whole(source)[0]))


def frames(source: str | os.PathLike[str], most: int) -> list[Image.Image]:
    """The first ``most`` frames of a clip, or a still, each as `picture` gives it.

    Raises:
        InvalidFile: as `picture`.
    """
    first, (data, name) = picture(source), data_of(source)
    with opened(data, name) as image:
        later = islice(ImageSequence.Iterator(image), 1, most)
        return [first, *damaged_as([], lambda: [plain(srgb.converted(frame.copy())) for frame in later])]


def whole(source: str | os.PathLike[str]) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture, upright, decoded, in its own mode with its ICC profile; and what of the file it does not hold.

    Raises:
        InvalidFile: as `picture`.
    """
    data, name = data_of(source)
    with opened(data, name) as image:
        frames = damaged_as(1, lambda: getattr(image, "n_frames", 1))
        deep = image.mode in ("RGB", "RGBA") and damaged_as(8, _depth, image, data) > 8
        said = [f"{name} holds {frames} pictures, of which the first was taken."] if frames > 1 else []
        said += [f"{name} has 16 bits a colour, of which 8 were read."] if deep else []
        return damaged_as(image, _upright, image), tuple(said)


def _depth(image: Image.Image, data: bytes) -> int:
    """Bits a colour of an opened file, as far as it says."""
    if image.format == "PNG":
        return data[24]  # in its header
    return max(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,)))


def plain(image: Image.Image) -> Image.Image:
    """Any mode as RGB, or RGBA where something is transparent, 8 bits a colour; floating point counts from 0 to 1."""
    if image.mode == "F":
        image = image.point(lambda v: v * 255 + 0.5).convert("L")
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits; a plain conversion would clip at 255
        image = image.point(lambda v: v / 256).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)


def opened(data: bytes, name: str) -> Image.Image:
    """A decoded image from untrusted bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _decoded(data, name)
        except InvalidFile:
            if not data.startswith(png.SIGNATURE):
                raise
            image = _decoded(png.bare(data), name)  # texts or a profile may be what is wrong
            if profile := png.profile(data):
                image.info["icc_profile"] = profile
            return image


def _decoded(data: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=formats())
    except Image.DecompressionBombError:
        raise _bomb(name, "far too many") from None
    except Exception:  # a decoder may raise anything on a hostile file
        heic = (
            "" if "HEIF" in formats() or data[4:8] != b"ftyp" else ". HEIC is read after `pip install 'danqing[heic]'`"
        )
        raise InvalidFile(
            f"{name} is not a picture that danqing reads ({len(data)} bytes); possible are {', '.join(formats())}{heic}"
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


@cache
def formats() -> tuple[str, ...]:
    """Those of `READABLE` that this installation reads: old releases of Pillow know no AVIF, and HEIC needs a package
    of its own."""
    if find_spec("pi_heif"):
        import pi_heif

        pi_heif.register_heif_opener()
    Image.init()
    return tuple(kind for kind in READABLE if kind in Image.OPEN)


def _bomb(name: str, size: str) -> InvalidFile:
    return InvalidFile(
        f"{name} claims {size} pixels; at most {MAX_PIXELS // 1_000_000} million are read: make it smaller first"
    )


def over_white(image: Image.Image) -> Image.Image:
    """RGB, with what is transparent shown on white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def shades(source: str, size: tuple[int, int]) -> Image.Image:
    """Where something counts, L of a size: white wholly, black and what is transparent not at all."""
    given = picture(source).convert("RGBA")  # white strokes may stand on nothing
    flat = Image.alpha_composite(Image.new("RGBA", given.size, "black"), given).convert("L")
    return flat.resize(size, Image.Resampling.BOX)


def mask(source: str, image: Image.Image) -> Image.Image:
    """What to repaint, L of the picture's size, 255 wholly: the mask's brightness, or, where the
    source is empty, where the picture is transparent.

    Raises:
        InvalidInput: no mask and no transparency, another size than the picture, or nothing to repaint.
    """
    if source:
        given = plain(whole(source)[0])  # brightness as it is stored: a mask is no colour
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


def damaged_as(instead: T, f: Callable[..., T], *args: Any) -> T:
    """What reads EXIF may raise anything where it is damaged; a picture without EXIF is still a picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return f(*args)
        except Exception:
            return instead
