"""How pictures become the arrays that hints are drawn from, and the hints that need no drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..finish.pixels import apart, bled
from .base import Draw, Warn
from .lines import Levels, white

#: More colours than this are no map of areas.
MOST_COLOURS = 256


def visible(picture: Image.Image) -> Levels:
    """(H, W, 3): what is transparent lies on white."""
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("RGB"))


def opaque(function: Callable[[Levels], NDArray[Any]]) -> Draw:
    """What draws by a function of levels (H, W, 3)."""

    def draw(picture: Image.Image, warn: Warn) -> Image.Image:
        return Image.fromarray(function(visible(picture))).convert("RGB")

    return draw


def turned(picture: Image.Image, warn: Warn) -> Image.Image:
    """Lines white on black; where most of a picture is light, its lines are the dark ones."""
    if picture.mode == "RGBA":  # strokes on nothing, of whatever colour
        return picture.getchannel("A").convert("RGB")
    grey = picture.convert("L")
    if np.asarray(grey).mean() <= 127.5:
        return grey.convert("RGB")
    warn("the lines are dark on light: they were turned, since control networks read light lines on dark")
    return ImageOps.invert(grey).convert("RGB")


def segmented(picture: Image.Image, warn: Warn) -> Image.Image:
    """Where something is, white; or the colours of a map as they are."""
    if picture.mode == "RGBA":
        return Image.fromarray(white(np.asarray(picture.getchannel("A")) > 127)).convert("RGB")
    if picture.getcolors(MOST_COLOURS) is None:
        warn(
            f"the picture has more than {MOST_COLOURS} colours, so it is hardly a map of what is what: give one of an"
            " even colour for each thing, or a picture with transparency"
        )
    return picture.convert("RGB")


def open_places(picture: Image.Image, warn: Warn) -> Image.Image:
    """RGBA, wholly black and transparent where it is to be painted."""
    if picture.mode != "RGBA":
        warn("nothing of the picture is transparent, so nothing is to be painted: make transparent what should change")
        return picture.convert("RGBA")
    pixels = apart(picture)
    seen = np.asarray(picture.getchannel("A")) > 127
    colours = np.where(seen[..., None], bled(pixels), 0)
    return Image.fromarray(np.dstack([colours, 255 * seen]).astype(np.uint8))
