"""The mask of what is painted anew: its size, its rim, and the cells of the latent that it frees."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor

from ...errors import InvalidInput
from ...pictures import read
from ...request.request import Resolved


def edged(mask: Image.Image, request: Resolved) -> Image.Image:
    """A mask as large as the request has it grow, with the rim that it asks for."""
    return soft(wider(mask, request.edit.grow), request.edit.blur)


def wider(mask: Image.Image, by: int) -> Image.Image:
    """A mask that reaches ``by`` pixels further to all sides; 0 leaves it as it is."""
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return Image.fromarray(cv2.dilate(np.asarray(mask), disc))


def grown(picture: Image.Image, extend: tuple[int, int, int, int]) -> tuple[Image.Image, Image.Image]:
    """A picture on a canvas larger by (left, top, right, bottom) pixels, where its edge goes on, and the mask of what
    is new.

    Raises:
        InvalidInput: it would have more pixels than are read.
    """
    left, top, right, bottom = extend
    if (left + picture.width + right) * (top + picture.height + bottom) > read.MAX_PIXELS:
        possible = f"at most {read.MAX_PIXELS // 1_000_000} million pixels"
        raise InvalidInput(
            f"extend: {extend} was given for a picture of {picture.width}×{picture.height}; possible are "
            f"{possible} in all"
        )
    sides = ((top, bottom), (left, right))
    mask = np.pad(np.zeros((picture.height, picture.width), np.uint8), sides, constant_values=255)
    return Image.fromarray(np.pad(np.asarray(picture), (*sides, (0, 0)), mode="edge")), Image.fromarray(mask)


def cells(mask: Image.Image, factor: int) -> Tensor:
    """Which latent cells may change: those with any pixel of the mask, (1, 1, h, w) of 0 and 1."""
    pixels = torch.from_numpy(np.asarray(mask.convert("L"), np.float32).copy())[None, None]  # (1, 1, H, W)
    return (F.max_pool2d(pixels, factor) > 0).float()


def soft(mask: Image.Image, rim: int) -> Image.Image:
    """A ramp ``rim`` pixels wide within the mask's edge: the mean of the mask shrunk by 0 .. rim pixels; 0 stays 0."""
    total, shrunk = np.asarray(mask, np.float32).copy(), mask
    for _ in range(rim):
        shrunk = shrunk.filter(ImageFilter.MinFilter(3))
        total += np.asarray(shrunk, np.float32)
    # Rounded up, so that no pixel of the mask falls out of it.
    return Image.fromarray(np.ceil(total / (rim + 1)).astype(np.uint8))
