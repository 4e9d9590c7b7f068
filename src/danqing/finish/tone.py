"""The tones of a picture: local contrast, white balance, levels, curves, exposure.

All is pointwise on levels of 8 or 16 bits, by tables of one entry a level where channels stay apart; only CLAHE looks
around, and that through OpenCV. Neutral settings give back every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np

from ..errors import InvalidInput
from .colour import LUMINANCE, Array, encoded, lab, lightness, linear, shown
from .curve import Point, monotone
from .pixels import Levels, Pixels, Raster, apart, together, top

#: How many pixels are computed with at once.
BAND = 2**18
#: Into how many parts CLAHE divides a level of 8 bits, by the bytes of a level: 16 bits stay 16 bits.
SHIFTS = {1: 16, 2: 256}


# ---- how -----------------------------------------------------------------------------------------------------------


def changed(picture: Raster, change: Callable[[Pixels], Levels]) -> Raster:
    """The picture with other colours; its transparency stays as it is, bit for bit."""
    pixels = apart(picture)
    return together(pixels._replace(colour=change(pixels)), picture)


def fractions(levels: Levels) -> Array:
    """Levels -> [0, 1]."""
    return levels / top(levels)


def nearest(values: Array, like: Levels) -> Levels:
    """[0, 1] -> the nearest levels of the type; `fractions` of levels gives the same ones back."""
    return np.rint(values.clip(0, 1) * top(like)).astype(like.dtype)


def bands(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture, some at a time."""
    rows = max(1, BAND // width)
    return (slice(start, start + rows) for start in range(0, height, rows))


def table(f: Callable[[Array], Array], like: Levels) -> Levels:
    """What becomes of each level under [0, 1] -> [0, 1]."""
    return nearest(f(np.linspace(0, 1, top(like) + 1)), like)


def looked_up(levels: Levels, functions: Sequence[Callable[[Array], Array]]) -> Levels:
    """Each channel under its function; one function serves all."""
    tables = [table(f, levels) for f in functions]
    every = tables if len(tables) == levels.shape[2] else tables[:1] * levels.shape[2]
    return np.stack([every[c][levels[..., c]] for c in range(levels.shape[2])], 2)


# ---- what ----------------------------------------------------------------------------------------------------------


def clahe(picture: Raster, *, clip: float = 2.0, tiles: int = 8) -> Raster:
    """Contrast-limited adaptive histogram equalisation of the lightness alone: a and b of Lab, and so the hue, stay.

    Each tile's cumulative histogram is a map of lightness whose slope is limited to ``clip``; between tiles the maps
    are mixed. Where no screen shows the lighter or darker colour, it loses chroma and keeps its hue. Source: Zuiderveld
    1994.

    Args:
        picture: of Pillow, or an array (H, W, 1 to 4) of uint8 or uint16.
        clip: how steep the map may become; 1 changes nothing.
        tiles: along each side; fewer where they would have less than 8 pixels.

    Raises:
        InvalidInput: OpenCV is not installed.
    """

    def change(pixels: Pixels) -> Levels:
        levels = pixels.colour
        if clip <= 1:
            return levels
        height, width, channels = levels.shape
        light = np.empty((height, width), np.float32)
        for band in bands(height, width):
            light[band] = lightness(_three(fractions(levels[band])))
        light = equalised(light / 100, clip, tiles, SHIFTS[levels.dtype.itemsize]) * 100
        result = np.empty_like(levels)
        for band in bands(height, width):
            colours = lab(_three(fractions(levels[band]))).reshape(-1, 3)
            colours[:, 0] = light[band].ravel()
            result[band] = nearest(shown(colours), levels).reshape(-1, width, 3)[..., :channels]
        return result

    return changed(picture, change)


def _three(values: Array) -> Array:
    return np.broadcast_to(values, (*values.shape[:-1], 3))


def equalised(light: Array, clip: float, tiles: int, shifts: int) -> Array:
    """CLAHE of (H, W) in [0, 1] with maps of 256 bins, finer than these by ``shifts``.

    OpenCV takes and gives whole levels of 8 bits, in which a smooth sky has steps. So it is asked several times, with
    the light shifted by parts of a level each time, and the answers' mean is taken: ``mean_j T(floor(255 light + (j +
    1/2) / shifts))``. On whole levels that is OpenCV's own answer; between them it is as good as straight (Scott 1985,
    averaged shifted histograms).
    """
    height, width = light.shape
    grid = (max(1, min(tiles, width // 8)), max(1, min(tiles, height // 8)))
    maps = cv2.createCLAHE(clip, grid)
    total = np.zeros(light.shape, np.float32)  # exact up to 2^24, and 255 · 256 is less
    for j in range(shifts):
        total += maps.apply((255 * light + np.float32((j + 0.5) / shifts)).astype(np.uint8))
    return total / np.float32(255 * shifts)


def white_balance(
    picture: Raster,
    *,
    method: Literal["grey-world", "white-patch"] = "grey-world",
    percentile: float = 99.0,
    strength: float = 1.0,
) -> Raster:
    """One gain a channel, in linear light, so that what should be grey is: ``g_c = (Y / m_c)^strength``, Y the
    luminance of m.

    m is the mean of the visible pixels (Buchsbaum 1980: on average the world is grey) or a high percentile of each
    channel (Land & McCann 1971: the brightest is white). A channel that is empty stays so.

    Args:
        method: which m.
        percentile: of white-patch, 50 .. 100.
        strength: 0 changes nothing, 1 all.
    """

    def change(pixels: Pixels) -> Levels:
        levels = pixels.colour
        if levels.shape[2] == 1 or not strength or not pixels.visible.any():
            return levels
        light = linear(np.linspace(0, 1, top(levels) + 1))
        counts = [np.bincount(levels[..., c][pixels.visible], minlength=len(light)) for c in range(3)]
        if method == "grey-world":
            mean = np.array([count @ light / count.sum() for count in counts])
        else:
            mean = np.array(
                [light[np.searchsorted(count.cumsum(), percentile / 100 * count.sum())] for count in counts]
            )
        gains = np.where(mean > 0, LUMINANCE @ mean / np.where(mean > 0, mean, 1), 1.0) ** strength
        return looked_up(levels, [lambda v, gain=gain: encoded(gain * linear(v)) for gain in gains])

    return changed(picture, change)


def levels(
    picture: Raster, *, black: float = 0.0, white: float = 1.0, gamma: float = 1.0, low: float = 0.0, high: float = 1.0
) -> Raster:
    """``v' = low + (high - low) ((v - black) / (white - black))^(1/gamma)``, cut to [0, 1] before the power.

    Args:
        black, white: what becomes the darkest and the lightest, in [0, 1], of sRGB's values.
        gamma: > 1 lightens the middle.
        low, high: what they become; low > high makes a negative.

    Raises:
        InvalidInput: black is not below white.
    """
    if not black < white:
        raise InvalidInput(
            f"levels: black {black:g} and white {white:g} were given; possible is black below white, both within 0 to 1"
        )

    def f(v: Array) -> Array:
        return low + (high - low) * ((v - black) / (white - black)).clip(0, 1) ** (1 / gamma)

    return changed(picture, lambda pixels: looked_up(pixels.colour, [f]))


def curves(
    picture: Raster,
    *,
    points: Sequence[Point] = (),
    red: Sequence[Point] = (),
    green: Sequence[Point] = (),
    blue: Sequence[Point] = (),
) -> Raster:
    """Each level along a smooth curve through points (x, y) in [0, 1]²; it rises and falls only where they do.

    Args:
        points: of all channels, after each channel's own; none is the identity. Beyond the first and the last point the
            curve is flat.
        red, green, blue: of one channel; a grey picture has none.

    Raises:
        InvalidInput: one point, two of the same x, or a number outside [0, 1].
    """
    every, *own = (monotone(p) for p in (points, red, green, blue))

    def change(pixels: Pixels) -> Levels:
        if pixels.colour.shape[2] == 1:
            return looked_up(pixels.colour, [every])
        return looked_up(pixels.colour, [lambda v, f=f: every(f(v)) for f in own])

    return changed(picture, change)


def adjust(picture: Raster, *, exposure: float = 0.0, gamma: float = 1.0, saturation: float = 1.0) -> Raster:
    """Brighter or darker by stops, a lighter or darker middle, more or less colour, in this order.

    ``light' = 2^exposure light;  v' = v^(1/gamma);  light'' = Y + saturation (light' - Y)``, Y the luminance, v sRGB's
    value.

    Args:
        exposure: in stops.
        gamma: > 1 lightens the middle.
        saturation: 0 grey, 1 as it is.
    """

    def tone(v: Array) -> Array:
        return encoded(2**exposure * linear(v)).clip(0, 1) ** (1 / gamma)

    def change(pixels: Pixels) -> Levels:
        colour = pixels.colour if exposure == 0 and gamma == 1 else looked_up(pixels.colour, [tone])
        if saturation == 1 or colour.shape[2] == 1:
            return colour
        result = np.empty_like(colour)
        for band in bands(*colour.shape[:2]):
            light = linear(fractions(colour[band]))
            grey: Any = (light @ LUMINANCE)[..., None]
            result[band] = nearest(encoded(grey + saturation * (light - grey)), colour)
        return result

    return changed(picture, change)
