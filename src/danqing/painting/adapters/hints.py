"""What a control network is shown: the hint of a given picture, at the size that is painted."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...errors import InvalidInput
from ...pictures import read
from ...request.control import Control, Fit
from ...request.request import Resolved
from .. import finishing

Size = tuple[int, int]
Mask = NDArray[np.bool_]
#: (a picture, a size) -> the picture at that size.
Resize = Callable[[Image.Image, Size], Image.Image]


def hint(control: Control, request: Resolved) -> Tensor:
    """(1, 3, H, W) of 0 to 1; for an inpainting network -1 where it is to paint.

    Raises:
        InvalidInput: nothing says where an inpainting network is to paint.
    """
    size, source = (request.width, request.height), read.picture(control.image)
    draw = drawer(control)
    if draw is not None:
        return levels(draw(source, size))
    picture = read.over_white(source)
    shown = levels(fitted(picture, size, control.fit, lines if thin(picture) else smooth))
    if control.name != "inpaint":
        return shown
    if not request.edit.mask and source.mode != "RGBA":
        raise InvalidInput(
            "control inpaint: nothing says what is to be painted: give a mask, or a picture with transparent parts"
        )
    mask = fitted(read.mask(request.edit.mask, source), size, control.fit, nearest)
    return torch.where(levels(mask) > 0.5, -1.0, shown)


def drawer(control: Control) -> Resize | None:
    """What draws a control's hint of a picture, at a size; None where the picture is the hint already: it is ready, or
    one to be painted in, or nothing here draws hints.

    Raises:
        UnknownName, InvalidInput: of no kind that is drawn, or with parameters outside their domains.
    """
    if control.ready or control.name == "inpaint" or not find_spec("danqing.hint"):
        return None
    record = import_module("danqing.hint.records").hint(control.kind)
    draw, at_size = record.make(finishing.network), import_module("danqing.hint.fit").at_size
    return lambda picture, size: at_size(record, draw, picture, size, control.fit)


def undrawn(control: Control) -> bool:
    """Whether a picture that is not said to be a hint is taken for one, because nothing here draws it."""
    return not control.ready and control.name != "inpaint" and drawer(control) is None


def levels(picture: Image.Image) -> Tensor:
    """(1, 3, H, W), 0 to 1."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]


# ---- sizes ---------------------------------------------------------------------------------------------------------


def fitted(picture: Image.Image, size: Size, fit: Fit, resize: Resize) -> Image.Image:
    """A picture at a size: "fit" shows it whole, black beside it; "fill" cuts its longer sides off; "stretch" changes
    its ratio."""
    scales = [side / own for side, own in zip(size, picture.size, strict=True)]
    if fit == "stretch" or scales[0] == scales[1]:
        return resize(picture, size)
    scale = min(scales) if fit == "fit" else max(scales)
    inner = [max(1, round(own * scale)) for own in picture.size]
    left, top = ((side - wide) // 2 for side, wide in zip(size, inner, strict=True))
    resized = resize(picture, (inner[0], inner[1]))
    sheet = Image.new(resized.mode, size)
    sheet.paste(resized, (left, top))
    return sheet


def smooth(picture: Image.Image, size: Size) -> Image.Image:
    """Levels between its pixels."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def nearest(picture: Image.Image, size: Size) -> Image.Image:
    """Every pixel one that was there."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.NEAREST)


def lines(picture: Image.Image, size: Size) -> Image.Image:
    """Lines of one pixel stay so, and none is lost: the lightest of what becomes a pixel, thinned."""
    found = np.asarray(picture.convert("L")) > 127
    if picture.size == size:
        return picture
    for axis, side in enumerate(reversed(size)):
        own = found.shape[axis]
        starts = np.arange(side) * own // side
        found = np.maximum.reduceat(found, starts, axis) if side < own else np.take(found, starts, axis)
    return Image.fromarray(np.where(thinned(found), np.uint8(255), np.uint8(0))).convert("RGB")


def thin(picture: Image.Image) -> bool:
    """Whether a picture is of light lines on black no wider than two pixels."""
    grey = np.asarray(picture.convert("L"))
    light = grey > 127
    if not light.any() or ((grey > 31) & (grey < 224)).mean() > 0.02:
        return False
    solid = light[1:-1, 1:-1] & light[:-2, 1:-1] & light[2:, 1:-1] & light[1:-1, :-2] & light[1:-1, 2:]
    return solid.sum() < 0.02 * light.sum()


def thinned(light: Mask) -> Mask:
    """Lines of any width as lines of one pixel, whole as they were. Source: Zhang & Suen 1984."""
    light = np.pad(light, 1)
    while True:
        before = light.sum()
        for first in (True, False):
            around = [np.roll(light, at, (0, 1)) for at in _CIRCLE]  # north, north-east, … north-west
            north, east, south, west = around[::2]
            count = sum(one.astype(np.uint8) for one in around)
            turns = sum((~a & b).astype(np.uint8) for a, b in zip(around, (*around[1:], around[0]), strict=True))
            if first:
                free = ~(north & east & south) & ~(east & south & west)
            else:
                free = ~(north & east & west) & ~(north & south & west)
            light = light & ~((count >= 2) & (count <= 6) & (turns == 1) & free)
        if light.sum() == before:
            return light[1:-1, 1:-1]


#: By how much a picture is moved to see each neighbour in its pixels' places.
_CIRCLE = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
