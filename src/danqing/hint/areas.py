"""Hints of colours and areas, from RGB levels (H, W, 3)."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..finish.colour import LUMINANCE, encoded, linear
from .lines import Levels, blurred

#: Of the disorder's waves, by the picture's sides.
WAVES = 4


def tile(picture: Levels, *, factor: float = 8) -> Levels:
    """Means of so many pixels, and back by bicubic interpolation."""
    height, width = picture.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def blur(picture: Levels, *, radius: float = 9) -> Levels:
    return blurred(picture, radius)


def colour_grid(picture: Levels, *, block: int = 64) -> Levels:
    """Blocks from the upper left on; those at the right and the lower border may be narrower."""
    height, width = picture.shape[:2]
    rows, columns = np.arange(0, height, block), np.arange(0, width, block)
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.int64), rows, 0), columns, 1)
    counts = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[..., None]
    means = ((2 * sums + counts) // (2 * counts)).astype(np.uint8)
    return means.repeat(block, 0)[:height].repeat(block, 1)[:, :width]


def palette(picture: Levels, *, colours: int = 8, form: Literal["picture", "bands"] = "picture") -> Levels:
    """Every pixel in the nearest of k colours, which median cut begins (Heckbert 1982) and k-means moves until few
    pixels change theirs; a picture of k colours or fewer keeps them."""
    image = Image.fromarray(picture)
    if image.getcolors(colours) is None:
        still = max(1, image.width * image.height // 500)
        cut = image.quantize(colours, Image.Quantize.MEDIANCUT, kmeans=still, dither=Image.Dither.NONE)
        image = cut.convert("RGB")
    return np.asarray(image) if form == "picture" else bands(image)


def bands(image: Image.Image) -> Levels:
    """A picture's colours as upright bands, the most common first, each as wide as it is common, a pixel at least."""
    found = sorted(image.getcolors(256) or (), key=lambda pair: (-pair[0], pair[1]))[: image.width]
    shares = np.array([count for count, _ in found], float)
    wide = 1 + np.floor((image.width - len(found)) * np.cumsum(shares) / shares.sum() + 1e-9).astype(int)
    ends = wide + np.arange(len(found))
    row = np.array([colour for _, colour in found], np.uint8)[np.searchsorted(ends, np.arange(image.width), "right")]
    return np.broadcast_to(row, (image.height, *row.shape)).copy()


def grey(picture: Levels, *, of: Literal["luminance", "intensity"] = "luminance", gamma: float = 1.0) -> Levels:
    """Grey of the same luminance, or of the largest of the three channels; then ``v^(1/gamma)``.

    A1111's recolor_luminance has Lab's L as the level, which differs from this by up to 4 % in the middle.
    """
    shares = picture / 255
    value = encoded(linear(shares) @ LUMINANCE) if of == "luminance" else shares.max(-1)
    return np.rint(255 * value.clip(0, 1) ** (1 / gamma)).astype(np.uint8)


def threshold(picture: Levels, *, level: float = 0.5) -> Levels:
    return np.where(grey(picture) > 255 * level, 255, 0).astype(np.uint8)


def shuffle(picture: Levels, *, seed: int = 0) -> Levels:
    """Each pixel from a place that smooth noise says. Source: lllyasviel/ControlNet 1.1 (ContentShuffle)."""
    height, width = picture.shape[:2]
    draw = np.random.default_rng(seed)

    def places(size: int) -> NDArray[np.float32]:
        noise = draw.random((WAVES + 1, WAVES + 1), np.float32)
        smooth: NDArray[Any] = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        low, high = float(smooth.min()), float(smooth.max())
        return ((smooth - low) / max(high - low, 1e-6) * (size - 1)).astype(np.float32)

    moved = cv2.remap(picture, places(width), places(height), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
