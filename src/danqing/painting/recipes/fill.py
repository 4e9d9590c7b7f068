"""What a part of a picture that is painted anew starts from: `danqing.request.names.FILLS` is the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...noise import Noise
from ...request.names import FILLS
from ...request.request import Resolved
from ..painter import Painter
from ..steps import later


@dataclass(frozen=True)
class Given:
    """A picture of which a part is painted anew.

    Args:
        image: at the size that is painted.
        x: its latent, (1, C, h, w).
        free: the cells that may change, (1, 1, h, w) of 0 and 1.
        noise: standard normal, like x.
    """

    image: Image.Image
    x: Tensor
    free: Tensor
    noise: Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One start: a row of `FILLS`.

    Args:
        start: the latent that is noised, (1, C, h, w).
        does: in a sentence.
    """

    start: Callable[[Painter, Given], Tensor]
    does: str


def filled(painter: Painter, request: Resolved, stage: str, image: Image.Image, x: Tensor, free: Tensor) -> Tensor:
    """What the request has painting start from, (1, C, h, w); arguments as of `Given`."""
    given = Given(image, x, free, lambda: Noise.of(request.seed, [request.index], f"{stage}fill")(x))
    return FILLS[request.edit.fill].start(painter, given)


def idle(painter: Painter, request: Resolved) -> Iterator[str]:
    """That a start has no effect, where noise leaves nothing of it."""
    start = later(painter.points(request), request)[0]
    if request.edit.fill != "original" and start.alpha == 0:
        yield f"fill {request.edit.fill} had no effect: painting starts from noise alone; state a strength below 1."


def blurred(painter: Painter, given: Given) -> Tensor:
    """The latent of the picture whose free part is what lies around it, blurred: the farther in, the wider.

    Each width gives ``G(k y) / G(k)``, G a Gaussian and k 1 where the picture is known; a narrower one lies over a
    wider one as far as it knows anything, G(k).
    """
    import cv2
    import numpy as np

    size = given.image.size
    known = 1 - F.interpolate(given.free.float().cpu(), size[::-1])[0, 0].numpy()[..., None]  # (H, W, 1)
    levels = np.asarray(given.image, np.float32)
    result = np.full_like(levels, 127.5)
    for part in (1, 4, 16, 64, 256):
        sigma = max(size) / (2 * part)
        shares, colours = (
            cv2.GaussianBlur(array, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for array in (known, levels * known)
        )
        weight = shares[..., None].clip(1e-6)
        result += np.minimum(1, 2 * weight) * (colours / weight - result) * (shares[..., None] > 1e-6)
    image = np.where(known > 0, levels, result)
    return painter.encode_image(Image.fromarray(image.round().clip(0, 255).astype(np.uint8)))


ORIGINAL = Fill(start=lambda painter, given: given.x, does="The picture itself.")
BLUR = Fill(start=blurred, does="The colours around the mask, blurred into it.")
NOISE = Fill(
    start=lambda painter, given: torch.where(given.free > 0, given.noise(), given.x),
    does="Noise in the model's latent.",
)
NOTHING = Fill(
    start=lambda painter, given: torch.where(given.free > 0, 0, given.x), does="The model's empty latent, zeros."
)
