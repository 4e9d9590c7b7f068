"""What a control network is shown: the hint of a given picture, at the size that is painted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import InvalidInput
from ...hint.base import Warn
from ...hint.fit import Size, at_size, fitted
from ...hint.records import hint as named
from ...pictures import read
from ...request.control import Control
from ...request.request import Resolved
from . import hinting

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
    shown = levels(fitted(read.over_white(source), size, control.fit, "lines"))
    if control.name != "inpaint":
        return shown
    if not request.edit.mask and source.mode != "RGBA":
        raise InvalidInput(
            "control inpaint: nothing says what is to be painted: give a mask, or a picture with transparent parts"
        )
    mask = fitted(read.mask(request.edit.mask, source), size, control.fit, "areas")
    return torch.where(levels(mask) > 0.5, -1.0, shown)


def drawer(control: Control, warn: Warn = lambda said: None) -> Resize | None:
    """What draws a control's hint of a picture, at a size; None where the picture is the hint already: it is ready, or
    one to be painted in.

    Raises:
        UnknownName, InvalidInput: of no kind that is drawn, or with parameters outside their domains.
    """
    if control.ready or control.name == "inpaint":
        return None
    record = named(control.kind, warn)
    draw = hinting.make(record)
    return lambda picture, size: at_size(record, draw, picture, size, control.fit)


def levels(picture: Image.Image) -> Tensor:
    """(1, 3, H, W), 0 to 1."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]
