"""Pictures as arrays of levels, their colour apart from their transparency; any mode of Pillow in, a plain one out."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import InvalidInput

#: (H, W, C) of uint8 or uint16, 0 black .. 255 or 65535 white.
Levels = NDArray[np.unsignedinteger[Any]]
#: A picture of Pillow, or its levels with 1 channel (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
Raster = TypeVar("Raster", Image.Image, Levels)

GREY = ("1", "L", "LA", "La")
SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class Pixels(NamedTuple):
    """A picture taken apart.

    Args:
        colour: (H, W, 1 or 3), straight, not multiplied by alpha.
        alpha: (H, W, 1) of the same type, or None where nothing is transparent.
        profile: the ICC profile that the colours are meant in.
    """

    colour: Levels
    alpha: Levels | None = None
    profile: bytes | None = None

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(H, W): where there is anything to see."""
        return np.ones(self.colour.shape[:2], bool) if self.alpha is None else self.alpha[..., 0] > 0


def top(levels: Levels) -> int:
    """The level of white: 255 or 65535."""
    return int(np.iinfo(levels.dtype).max)


def apart(picture: Image.Image | Levels) -> Pixels:
    """Colour and transparency of a picture; it is turned upright where its EXIF says how.

    Palettes, CMYK, YCbCr and the like become RGB, bits become grey; 16 bits stay 16 bits.

    Raises:
        InvalidInput: a picture of no pixels, of floating-point numbers, or of a mode or a type that holds no colours.
    """
    if isinstance(picture, np.ndarray):
        return _array_apart(picture)
    if not picture.width or not picture.height:
        raise InvalidInput(f"a picture of {picture.width}×{picture.height} has no pixels: give one of at least 1×1")
    profile = picture.info.get("icc_profile") if picture.mode not in ("CMYK", "LAB") else None
    image = ImageOps.exif_transpose(picture)
    if image.mode in SIXTEEN:
        levels = np.asarray(image)[..., None]
        if levels.min() < 0 or levels.max() > 65535 or "transparency" in image.info:
            raise InvalidInput(
                f"a picture of mode {image.mode} must be opaque grey of 16 bits, 0 to 65535: convert it to I;16 or RGBA"
            )
        return Pixels(levels.astype(np.uint16), None, profile)
    grey, clear = image.mode in GREY, image.has_transparency_data
    wanted = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")
    try:
        if image.mode == "F":  # which Pillow would clip without a word
            raise ValueError
        array = np.array(image.convert(wanted))
    except ValueError:
        raise InvalidInput(
            f"a picture of mode {image.mode} holds no levels: convert it to L, I;16, RGB or RGBA"
        ) from None
    return _array_apart(array)._replace(profile=profile)


def _array_apart(array: Levels) -> Pixels:
    if array.ndim == 2:
        array = array[..., None]
    if (
        array.dtype not in (np.uint8, np.uint16)
        or array.ndim != 3
        or array.shape[2] not in (1, 2, 3, 4)
        or not array.size
    ):
        raise InvalidInput(
            f"an array of {array.dtype} and shape {array.shape} is no picture: give (H, W, 1 to 4) of uint8 or uint16"
        )
    colours = array.shape[2] - (array.shape[2] % 2 == 0)
    return Pixels(array[..., :colours], array[..., colours:] if colours < array.shape[2] else None)


def together(pixels: Pixels, like: Raster) -> Raster:
    """The picture of the kind that ``like`` is: L, LA, RGB, RGBA or I;16 in Pillow, else (H, W, C).

    Raises:
        InvalidInput: of what Pillow cannot hold, colours or transparency of 16 bits.
    """
    parts = [pixels.colour] if pixels.alpha is None else [pixels.colour, pixels.alpha]
    array = np.concatenate(parts, 2) if len(parts) > 1 else pixels.colour
    if isinstance(like, np.ndarray):
        return array[..., 0] if like.ndim == 2 and array.shape[2] == 1 else array
    if array.dtype == np.uint16 and array.shape[2] > 1:
        raise InvalidInput("Pillow holds no colours of 16 bits: give and take an array (H, W, C) of uint16")
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if pixels.profile:
        image.info["icc_profile"] = pixels.profile
    return image


def bled(pixels: Pixels) -> Levels:
    """The colours with those of wholly transparent pixels, which mean nothing, taken from what is visible around them.

    Whatever then mixes neighbours mixes in no colour of their own. Means of 2×2, 4×4, ... pixels are made until each
    has something visible, and the finest that has is taken. Source: Gortler et al. 1996, The Lumigraph, section 3.4
    (pull and push).
    """
    seen = pixels.visible
    if seen.all() or not seen.any() or pixels.alpha is None:
        return pixels.colour
    weight = (pixels.alpha / np.float32(top(pixels.alpha))).astype(np.float32)
    around = np.rint(filled(pixels.colour * weight, weight)).astype(pixels.colour.dtype)
    return np.where(seen[..., None], pixels.colour, around)


def filled(mass: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Weighted means (H, W, C), of larger blocks where the weight is zero."""
    some = weight > 0
    mean = mass / np.where(some, weight, 1)
    if some.all():
        return mean
    height, width = weight.shape[:2]
    pairs = ((0, height % 2), (0, width % 2), (0, 0))
    half = [np.pad(x, pairs).reshape((height + 1) // 2, 2, (width + 1) // 2, 2, -1).sum((1, 3)) for x in (mass, weight)]
    coarse = filled(*half).repeat(2, 0).repeat(2, 1)[:height, :width]
    return np.where(some, mean, coarse)


def resized(levels: Levels, size: tuple[int, int]) -> Levels:
    """(H, W, C) at another (width, height), by Lanczos."""
    if size == (levels.shape[1], levels.shape[0]):
        return levels
    if levels.dtype == np.uint8 and levels.shape[2] == 3:
        return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.LANCZOS))
    channels = (Image.fromarray(np.ascontiguousarray(levels[..., c])) for c in range(levels.shape[2]))
    return np.stack([np.asarray(channel.resize(size, Image.Resampling.LANCZOS)) for channel in channels], 2)
