"""Colours by measurement: which of a dozen names a pixel has, which a picture has, and a picture with its hues turned.

A name is a matter of perceived lightness, chroma and hue, those of OKLCH: orange made dark is brown, red made light is
pink. A turn of the hue is one of HSV, where vivid colours stay vivid and three turns by 120 degrees are red, green and
blue in turn; what has next to no chroma keeps its colour.

Source of OKLab: Ottosson 2020, "A perceptual color space for image processing".
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
#: Chroma up to which a colour keeps when hues are turned, and from which it turns wholly.
PALE, CHROMATIC = 0.03, 0.055
#: Skin in OKLCH: from and to which hue in degrees, vivid and pale reds apart; how vivid; how far beyond colours turn in
#: part.
SKIN, VIVID_SKIN, VIVID, RIM = (5.0, 100.0), (38.0, 100.0), 0.185, 10.0

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
def _cube() -> np.ndarray:
    """Every colour of six bits a channel, (64, 64, 64, 3): what a pixel's colour is looked up by."""
    level = np.arange(64) * 255 / 63
    return np.stack(np.meshgrid(level, level, level, indexing="ij"), -1)


@cache
def _names() -> np.ndarray:
    return _named(_cube()).astype(np.uint8)


@cache
def _moves(skin: bool) -> np.ndarray:
    """How far each colour turns, in [0, 1]; with ``skin`` those of skin do not."""
    _, C, h = oklch(_cube())
    moves = np.clip((C - PALE) / (CHROMATIC - PALE), 0, 1)
    if skin:
        first = np.where(C < VIVID, SKIN[0], VIVID_SKIN[0])
        away = np.minimum((first - h) % 360, (h - SKIN[1]) % 360)
        moves *= np.where((h > first) & (h < SKIN[1]), 0, np.clip(away / RIM, 0, 1))
    return moves.astype(np.float32)


def _at(table: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    r, g, b = np.moveaxis(SIX_BITS[rgb], -1, 0)
    return table[r, g, b]


def named(rgb: Sequence[int] | np.ndarray) -> np.ndarray:
    """The place in `NAMES` of each of some colours (..., 3) of bytes, (...) uint8."""
    return _at(_names(), np.asarray(rgb))


def weights(picture: np.ndarray, opacity: np.ndarray, skin: bool = False) -> np.ndarray:
    """How much each pixel counts: its opacity, and nothing where it has a colour of skin that is left out."""
    if not skin:
        return opacity
    return opacity * ((_at(_moves(True), picture) > 0.5) | (_at(_moves(False), picture) < 0.5))


def shares(picture: np.ndarray, opacity: np.ndarray, skin: bool = False) -> np.ndarray:
    """Which part of what is drawn has each name, (13,); of sum 1, but for the skin that is left out."""
    counted = np.asarray(weights(picture, opacity, skin), np.float64)
    return np.bincount(named(picture).ravel(), counted.ravel(), len(NAMES)) / max(opacity.sum(dtype=np.float64), 1)


def dominant(picture: np.ndarray, opacity: np.ndarray, skin: bool = False) -> list[str]:
    """The names of a picture's colours, the largest first, three at most.

    Args:
        picture, opacity: (H, W, 3) and (H, W), bytes.
        skin: whether colours of skin are left out, as in pictures of people.
    """
    part = shares(picture, opacity, skin)
    order = np.argsort(-part, kind="stable")[:TOLD]
    return [list(NAMES)[i] for place, i in enumerate(order) if part[i] >= (SHARE if place else LEAST)]


def turn(rgb: np.ndarray, degrees: float | np.ndarray) -> np.ndarray:
    """Colours (..., 3) with their hue in HSV turned, value and saturation kept. 120 degrees make red green, green blue
    and blue red; turns add up."""
    r, g, b = (np.asarray(plane, np.float32, order="C") for plane in np.moveaxis(np.asarray(rgb), -1, 0))
    value = np.maximum(np.maximum(r, g), b)
    chroma = value - np.minimum(np.minimum(r, g), b)
    safe = np.where(chroma > 0, chroma, 1)
    hue = np.where(value == r, (g - b) / safe, np.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    hue = hue + np.asarray(degrees, np.float32) / 60
    planes = [np.remainder(hue + n, 6) for n in (5, 3, 1)]
    return np.stack([value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1) for k in planes], -1)


def turned(picture: np.ndarray, degrees: float, skin: bool = False) -> np.ndarray:
    """A picture (H, W, 3) of bytes with its hues turned; what is near grey, and with ``skin`` what is like skin, keeps
    its colour."""
    moves = _at(_moves(skin), picture)[..., None]
    before = picture.astype(np.float32)
    return np.rint(before + moves * (turn(before, degrees) - before)).astype(np.uint8)
