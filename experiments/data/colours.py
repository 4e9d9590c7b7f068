"""Colours of the art: which a picture has, without those of skin, and a picture with its hues turned.

A turn of the hue is one of HSV, where vivid colours stay vivid and three turns by 120 degrees are red, green and blue
in turn; what has next to no chroma keeps its colour. What a colour is called, `danqing.measure.colours` says.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from danqing.measure import colours as measured
from danqing.measure.colours import NAMES, NEUTRAL, PALE, at, cube, named, oklch

__all__ = ["NAMES", "NEUTRAL", "dominant", "named", "oklch", "shares", "turn", "turned", "weights"]

#: Chroma from which a colour turns wholly; up to `PALE` it keeps.
CHROMATIC = 0.055
#: Skin in OKLCH: from and to which hue in degrees, vivid and pale reds apart; how vivid; how far beyond colours turn in
#: part.
SKIN, VIVID_SKIN, VIVID, RIM = (5.0, 100.0), (38.0, 100.0), 0.185, 10.0


@cache
def _moves(skin: bool) -> np.ndarray:
    """How far each colour turns, in [0, 1]; with ``skin`` those of skin do not."""
    _, C, h = oklch(cube())
    moves = np.clip((C - PALE) / (CHROMATIC - PALE), 0, 1)
    if skin:
        first = np.where(C < VIVID, SKIN[0], VIVID_SKIN[0])
        away = np.minimum((first - h) % 360, (h - SKIN[1]) % 360)
        moves *= np.where((h > first) & (h < SKIN[1]), 0, np.clip(away / RIM, 0, 1))
    return moves.astype(np.float32)


def weights(picture: np.ndarray, opacity: np.ndarray, skin: bool = False) -> np.ndarray:
    """How much each pixel counts: its opacity, and nothing where it has a colour of skin that is left out."""
    if not skin:
        return opacity
    return opacity * ((at(_moves(True), picture) > 0.5) | (at(_moves(False), picture) < 0.5))


def shares(picture: np.ndarray, opacity: np.ndarray, skin: bool = False) -> np.ndarray:
    """Which part of what is drawn has each name, (13,); of sum 1, but for the skin that is left out."""
    return measured.shares(picture, weights(picture, opacity, skin), opacity.sum(dtype=np.float64))


def dominant(picture: np.ndarray, opacity: np.ndarray, skin: bool = False) -> list[str]:
    """The names of a picture's colours, the largest first, three at most.

    Args:
        picture, opacity: (H, W, 3) and (H, W), bytes.
        skin: whether colours of skin are left out, as in pictures of people.
    """
    return measured.first(shares(picture, opacity, skin))


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
    moves = at(_moves(skin), picture)[..., None]
    before = picture.astype(np.float32)
    return np.rint(before + moves * (turn(before, degrees) - before)).astype(np.uint8)
