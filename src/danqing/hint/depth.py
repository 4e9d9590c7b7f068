"""Hints of how near things are: by a network, ours or Depth Anything's, or from a picture that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ..errors import InvalidInput
from ..nets.depth_anything import DepthAnything
from ..nets.depth_unet import DepthUNet
from ..run.device import find_device
from .base import Warn
from .drawn import Levels, visible

Array = NDArray[np.floating[Any]]
#: Levels (H, W, 3) -> nearness (H, W), 0 the farthest .. 1 the nearest.
Near = Callable[[Levels], Array]
#: Pixels along the longer side that our network reads, and along the shorter one that Depth Anything does.
LONGER, SHORTER = 128, 518
#: What Depth Anything's pixels are normalised by (ImageNet).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: How alike colours are that are one surface (of 1, squared), and how far it is looked, of the shorter side.
ALIKE, REACH = 1e-3, 0.03


def shown(picture: Levels) -> Array:
    """Of a picture of depth, light where it is near."""
    return spread(picture.mean(-1))


class Nearness:
    """What a network says of how near each pixel is.

    Ours reads 128 px, the picture and its mirror image; what it says is brought to the picture's edges by a guided
    filter.

    Args:
        net: a `DepthUNet` or a `DepthAnything`.
        device: as for `danqing.run.device.find_device`.

    Raises:
        InvalidInput: another network.
    """

    def __init__(self, net: nn.Module, device: str | torch.device | None = None):
        if not isinstance(net, DepthUNet | DepthAnything):
            raise InvalidInput(
                f"{type(net).__name__} does not say how near things are: name danqing-depth or a file of Depth Anything"
            )
        self.device = find_device(device)
        self.net = net.eval().requires_grad_(False).float().to(self.device)

    @torch.inference_mode()
    def __call__(self, picture: Levels) -> Array:
        height, width = picture.shape[:2]
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(self.device) / 255
        if isinstance(self.net, DepthAnything):
            near = self.net((scaled(x, self.net.sides(height, width, SHORTER)) - pixel(x, MEAN)) / pixel(x, DEVIATION))
            return spread(whole(near[:, None], height, width))
        ratio = LONGER / max(height, width)
        small = 2 * scaled(x, (max(1, round(height * ratio)), max(1, round(width * ratio)))) - 1
        near = (self.net(small) + self.net(small.flip(3)).flip(3)) / 2
        return guided(whole(near, height, width), picture).clip(0, 1)


def pixel(x: Tensor, values: tuple[float, ...]) -> Tensor:
    """A number for each channel, (1, C, 1, 1)."""
    return x.new_tensor(values)[:, None, None]


def scaled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, C, H, W) -> (1, C, *size)."""
    return F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def whole(near: Tensor, height: int, width: int) -> Array:
    """(1, 1, h, w) -> (H, W)."""
    return F.interpolate(near.float(), size=(height, width), mode="bicubic", align_corners=False)[0, 0].cpu().numpy()


def spread(near: Array) -> Array:
    """From 0, the farthest, to 1, the nearest; all 0 where nothing is nearer than the rest."""
    low, high = float(near.min()), float(near.max())
    return (near - low) / (high - low) if high - low > 1e-4 else np.zeros_like(near)


def guided(near: Array, picture: Levels) -> Array:
    """What is said at a coarse grid, brought to the edges of the picture: in each window it is ``a·I + b``, by least
    squares. Source: He et al. 2010, "Guided image filtering", equations 19 to 21."""
    radius = max(2, round(REACH * min(near.shape)))

    def mean(image: Array) -> Array:
        return np.asarray(cv2.blur(image, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT), np.float32)

    image = picture.astype(np.float32) / 255
    middle, p = mean(image), near.astype(np.float32)
    high, wide = near.shape
    pairs = mean((image[..., :, None] * image[..., None, :]).reshape(high, wide, 9)).reshape(high, wide, 3, 3)
    spread_ = pairs - middle[..., :, None] * middle[..., None, :] + ALIKE * np.eye(3, dtype=np.float32)
    along = mean(image * p[..., None]) - middle * mean(p)[..., None]
    a = np.linalg.solve(spread_, along[..., None])[..., 0]
    b = mean(p) - (a * middle).sum(-1)
    return (mean(a) * image).sum(-1) + mean(b)


# ---- hints ---------------------------------------------------------------------------------------------------------


def levels(near: Near, picture: Image.Image, warn: Warn) -> Image.Image:
    """The nearest white, the farthest black."""
    return Image.fromarray((255 * near(visible(picture))).round().astype(np.uint8)).convert("RGB")


def normals(near: Near, picture: Image.Image, warn: Warn, *, relief: float) -> Image.Image:
    """``n ∝ (-∂h/∂x, -∂h/∂y, 1)``, h the nearness in pixels, y downwards; red is -x, green -y, blue z, each from -1 to
    1, as ControlNet 1.1 has them (NYU-V2)."""
    height = near(visible(picture)) * relief * min(picture.size)
    smooth = cv2.GaussianBlur(height.astype(np.float32), (0, 0), max(0.5, min(picture.size) / 128))
    down, across = np.gradient(np.pad(smooth, 1, mode="edge"))
    n = np.stack([across, down, np.ones_like(across)], -1)[1:-1, 1:-1]
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    return Image.fromarray((255 * (n + 1) / 2).round().clip(0, 255).astype(np.uint8))
