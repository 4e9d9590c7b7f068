"""Hints at the size that is painted in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast, get_args

import numpy as np
from PIL import Image, ImageColor

from ..errors import InvalidInput, UnknownName
from .base import Draw, Hint, Made, Warn
from .lines import thinned, white

#: The whole picture with its ratio, and what is left beside it filled; with its ratio, and what is too much cut off; or
#: without it.
Mode = Literal["fit", "fill", "stretch"]
Size = tuple[int, int]
Resize = Callable[[Image.Image, Size], Image.Image]


def mode_of(name: str) -> Mode:
    """Raises UnknownName: no such mode."""
    if name not in get_args(Mode):
        raise UnknownName("mode", name, get_args(Mode))
    return cast(Mode, name)


def at_size(
    hint: Hint,
    draw: Draw,
    picture: Image.Image,
    size: Size | None = None,
    mode: Mode = "fit",
    warn: Warn = lambda said: None,
) -> Image.Image:
    """The hint of a picture at the size (width, height): drawn there, so that a line of one pixel is one there too.

    Args:
        draw: what the record makes.
        size: None is the picture's own.

    Raises:
        InvalidInput: a size of no pixels.
    """
    if size is None:
        return draw(picture, warn)
    if hint.finished:
        return fitted(draw(picture, warn), size, mode, hint.made, hint.ground)
    return placed(picture, size, mode, lambda image, inner: draw(by_levels(image, inner), warn), hint.ground)


def fitted(
    hint: Image.Image, size: Size, mode: Mode = "fit", made: Made = "levels", ground: str | None = "black"
) -> Image.Image:
    """A finished hint at another size: lines stay of one pixel, areas of one colour.

    Args:
        made: of what it is made.
        ground: the colour beside it; None continues its border.

    Raises:
        InvalidInput: a size of no pixels.
    """
    return placed(hint, size, mode, {"lines": by_lines, "areas": by_nearest, "levels": by_levels}[made], ground)


def placed(picture: Image.Image, size: Size, mode: Mode, resize: Resize, ground: str | None) -> Image.Image:
    """A picture at a size by its mode; ``resize`` gets what of it is seen and how large it becomes."""
    if min(size) < 1:
        raise InvalidInput(f"size: {size[0]}×{size[1]} was given; possible are 1 pixel or more along each side")
    width, height = size
    across, down = width / picture.width, height / picture.height
    if mode == "fill":
        scale = max(across, down)
        wide, high = (max(1, min(own, round(side / scale))) for own, side in zip(picture.size, size, strict=True))
        left, top = (picture.width - wide) // 2, (picture.height - high) // 2
        picture = picture.crop((left, top, left + wide, top + high))
    if mode != "fit":
        return resize(picture, size)
    scale = min(across, down)
    inner = (max(1, min(width, round(picture.width * scale))), max(1, min(height, round(picture.height * scale))))
    drawn = resize(picture, inner)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    beside = ((top, height - inner[1] - top), (left, width - inner[0] - left), (0, 0))
    levels = np.asarray(drawn)
    if ground is None:
        return Image.fromarray(np.pad(levels, beside, mode="edge"))
    sheet = Image.new(drawn.mode, size, ImageColor.getcolor(ground, drawn.mode))
    sheet.paste(drawn, (left, top))
    return sheet


# ---- one size to another -------------------------------------------------------------------------------------------


def by_levels(image: Image.Image, size: Size) -> Image.Image:
    """By Lanczos, what is transparent mixing in no colour."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def by_nearest(image: Image.Image, size: Size) -> Image.Image:
    """Every pixel one that was there."""
    return image if image.size == size else image.resize(size, Image.Resampling.NEAREST)


def by_lines(image: Image.Image, size: Size) -> Image.Image:
    """Lines of one pixel stay so, and none is lost: the lightest of what becomes a pixel, thinned. Thick ones as
    `by_levels`."""
    if image.size == size or not thin(image):
        return by_levels(image, size)
    lines = np.asarray(image.convert("L")) > 127
    for axis, side in enumerate(reversed(size)):
        own = lines.shape[axis]
        if side < own:
            lines = np.maximum.reduceat(lines, np.arange(side) * own // side, axis)
        else:
            lines = np.take(lines, np.arange(side) * own // side, axis)
    return Image.fromarray(white(thinned(lines))).convert("RGB")


def thin(image: Image.Image) -> bool:
    """Whether a picture is of light lines on black no wider than two pixels."""
    grey = np.asarray(image.convert("L"))
    light = grey > 127
    if not light.any() or ((grey > 31) & (grey < 224)).mean() > 0.02:
        return False
    solid = light[1:-1, 1:-1] & light[:-2, 1:-1] & light[2:, 1:-1] & light[1:-1, :-2] & light[1:-1, 2:]
    return bool(solid.sum() < 0.02 * light.sum())
