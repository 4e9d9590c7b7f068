"""Colours by measurement: which of a dozen names a pixel has, and which a picture.

A name is a matter of perceived lightness, chroma and hue, those of OKLCH: orange made dark is brown, red made light is
pink. No network is asked. Source of OKLab: Ottosson 2020, "A perceptual color space for image processing".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

#: The names in English with the Chinese ones. The first three have no hue.
NAMES = {
    "white": "白色", "grey": "灰色", "black": "黑色",
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "teal": "青色", "blue": "蓝色",
    "purple": "紫色", "pink": "粉色", "brown": "棕色", "beige": "米色",
}  # fmt: skip
NEUTRAL = frozenset(("white", "grey", "black"))
#: The part of what is drawn from which a colour is the picture's; from which its first is; how many are told.
SHARE, LEAST, TOLD = 0.18, 0.1, 3
#: Chroma up to which a colour is a grey.
PALE = 0.03
#: Bytes as the nearest of 64 levels.
SIX_BITS = np.rint(np.arange(256) * 63 / 255).astype(np.uint8)

_TO_LMS = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_TO_LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip


def oklch(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lightness in [0, 1], chroma (0 for greys, at most 0.33) and hue in [0, 360) of sRGB colours (..., 3) in bytes."""
    s = np.asarray(rgb, np.float64) / 255
    linear = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    lightness, a, b = np.moveaxis(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T, -1, 0)
    return lightness, np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def _named(rgb: np.ndarray) -> np.ndarray:
    """The place in `NAMES` of each colour (..., 3); of the rules that fit the first counts."""
    L, C, h = oklch(rgb)
    warm = (h >= 32) & (h < 100)
    rules = (
        ((C < PALE) | (C < 0.045) & ((L < 0.33) | (h > 270) & (h < 330)), np.select([L > 0.88, L > 0.36], [0, 1], 2)),
        ((C < 0.075) & (L < 0.3), 2),
        (warm & (L > 0.8) & (C < 0.075), 12),
        (warm & ((L < 0.64) & (C < 0.16) | (L < 0.55) | (L < 0.8) & (C < 0.09)), 11),
        ((h < 32) & (L < 0.65) & (C < 0.1), 11),
        (((h >= 340) | (h < 32)) & (L > 0.7) & (C < 0.17), 10),
        (((h >= 340) | (h < 8)) & (L > 0.55), 10),
        ((h >= 325) & (L > 0.5), 10),
        ((h >= 345) | (h < 36), 3),
        ((h < 72) | (h < 80) & (L < 0.78), 4),
        (h < 113, 5),
        (h < 173, 6),
        (h < 212, 7),
        (h < 286, 8),
    )
    return np.select([where for where, _ in rules], [np.broadcast_to(name, L.shape) for _, name in rules], 9)


@cache
def cube() -> np.ndarray:
    """Every colour of six bits a channel, (64, 64, 64, 3): what a pixel's colour is looked up by."""
    level = np.arange(64) * 255 / 63
    return np.stack(np.meshgrid(level, level, level, indexing="ij"), -1)


@cache
def _names() -> np.ndarray:
    return _named(cube()).astype(np.uint8)


def at(table: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """What a table over `cube` has for each of some colours (..., 3) of bytes."""
    r, g, b = np.moveaxis(SIX_BITS[rgb], -1, 0)
    return table[r, g, b]


def named(rgb: Sequence[int] | np.ndarray) -> np.ndarray:
    """The place in `NAMES` of each of some colours (..., 3) of bytes, (...) uint8."""
    return at(_names(), np.asarray(rgb))


def shares(picture: np.ndarray, weight: np.ndarray, whole: float | None = None) -> np.ndarray:
    """Which part of what is drawn has each name, (13,), of sum 1, or 0 where nothing is drawn.

    Args:
        picture: (H, W, 3) of bytes. weight: how much each pixel counts, (H, W), such as its opacity.
        whole: what counts as 1, the sum of all weights where not given.
    """
    counted = np.asarray(weight, np.float64)
    total = counted.sum() if whole is None else whole
    return np.bincount(named(picture).ravel(), counted.ravel(), len(NAMES)) / max(total, 1)


def first(part: np.ndarray) -> list[str]:
    """The names of the largest shares (13,), the largest first, `TOLD` at most."""
    order = np.argsort(-part, kind="stable")[:TOLD]
    return [list(NAMES)[i] for place, i in enumerate(order) if part[i] >= (SHARE if place else LEAST)]


def dominant(picture: np.ndarray, weight: np.ndarray) -> list[str]:
    """The names of a picture's colours, the largest first."""
    return first(shares(picture, weight))
