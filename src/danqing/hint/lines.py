"""Hints of lines, white on black, from RGB levels (H, W, 3): edges, line art, scribbles. None is a network's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: (H, W) or (H, W, 3), 0 black .. 255.
Levels = NDArray[np.uint8]
Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

#: The neighbours of a pixel in a circle, as bits of a number: north 1, north-east 2, ... north-west 128.
AROUND = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)
#: Added to the brightness that darkness is a share of, so that in the dark noise is no line.
DARK = 0.3
#: The share of a picture's longer side below which a stroke is a speck.
SPECK = 0.02


def edges(picture: Levels, *, low: float = 100, high: float = 200, blur: float = 0) -> Levels:
    """Canny's edges of the channel that changes most, thinned. Source: Canny 1986."""
    return white(thinned(cv2.Canny(blurred(picture, blur), low, high) > 0))


def soft_edge(picture: Levels, *, width: float = 1.0, contrast: float = 1.0) -> Levels:
    """``1 - exp(-4 contrast (g_w + g_2w + g_4w))``, g_s the gradient of the picture blurred by s, times s, of the
    channel that changes most; so an edge is strongest where all three scales see it."""
    image = picture.astype(np.float32) / 255
    sum_ = np.zeros(picture.shape[:2], np.float32)
    for scale in (width, 2 * width, 4 * width):
        smooth = blurred(image, scale)
        across, down = cv2.Sobel(smooth, -1, 1, 0, scale=1 / 8), cv2.Sobel(smooth, -1, 0, 1, scale=1 / 8)
        sum_ += scale * np.sqrt(across**2 + down**2).max(-1)
    return (255 * (1 - np.exp(-4 * contrast * sum_))).round().astype(np.uint8)


def line_art(picture: Levels, *, width: float = 1.0, threshold: float = 0.04) -> Levels:
    """Where the picture is darker than around it, thinned.

    ``d_s = (G_1.6s * I - G_s * I) / (G_1.6s * I + 0.3)``, the mean of the channels, is positive in dark lines of the
    width 2s and on the dark side of edges; the larger of the widths w and 2w counts. Lines begin above the threshold
    and go on above half of it. Source: Winnemöller et al. 2012, section 2 (XDoG), as to the differences.
    """
    lines = strokes(picture, (width, 2 * width), threshold)
    return white(long(thinned(lines), SPECK / 2))


def scribble(picture: Levels, *, width: float = 1.5, threshold: float = 0.04) -> Levels:
    """The lines of `line_art` that are left at a coarse scale, without specks, as wide as a felt pen's."""
    pen = max(1.0, width / 100 * min(picture.shape[:2]))
    kept = long(thinned(strokes(picture, (pen / 2,), threshold)), 3 * SPECK)
    return white(wider(kept, pen))


def straight(picture: Levels, *, length: float = 0.05) -> Levels:
    """Segments by LSD, each drawn one pixel wide. Source: Grompone von Gioi et al. 2010."""
    found = np.zeros(picture.shape[:2], np.uint8)
    if min(found.shape) < 3:
        return found
    segments = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(grey(picture))[0]
    for x1, y1, x2, y2 in np.reshape(segments if segments is not None else [], (-1, 4)):
        if np.hypot(x2 - x1, y2 - y1) >= length * max(found.shape):
            cv2.line(found, (round(x1), round(y1)), (round(x2), round(y2)), 255, 1)
    return white(thinned(found > 0))


# ---- what they are made of -----------------------------------------------------------------------------------------


def white(mask: Mask) -> Levels:
    """255 where a mask is."""
    return mask.astype(np.uint8) * np.uint8(255)


def grey(picture: Levels) -> Levels:
    """(H, W, 3) -> (H, W)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def blurred(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """By a Gaussian of so many pixels; beyond the border the last pixels go on, so that a border is no edge."""
    return cv2.GaussianBlur(image, (0, 0), scale, borderType=cv2.BORDER_REPLICATE) if scale > 0 else image


def strokes(picture: Levels, widths: tuple[float, ...], threshold: float) -> Mask:
    """Where a picture is darker than around it at one of the scales, as a share of how bright it is there, with
    hysteresis."""
    light = picture.astype(np.float32) / 255
    darker = np.zeros(picture.shape[:2], np.float32)
    for width in widths:
        around = blurred(light, 1.6 * width)
        darker = np.maximum(darker, ((around - blurred(light, width)) / (around + DARK)).mean(-1))
    weak, strong = darker > max(threshold, 1e-3) / 2, darker > max(threshold, 1e-3)
    _, parts = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    return np.isin(parts, np.unique(parts[strong])) & weak


def long(lines: Mask, share: float) -> Mask:
    """The strokes of so many pixels or more, as a share of the longer side."""
    _, parts, facts, _ = cv2.connectedComponentsWithStats(lines.astype(np.uint8), connectivity=8)
    return (facts[:, cv2.CC_STAT_AREA] >= share * max(lines.shape))[parts] & lines


def wider(lines: Mask, pen: float) -> Mask:
    """Lines drawn by a round pen of so many pixels."""
    far = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return far < max(pen / 2, 0.5)


def _removable(side: int) -> NDArray[np.bool_]:
    """By the number of a pixel's neighbours: whether it can go where one side of it is dark, so that what it joins
    stays joined and no line becomes shorter."""
    codes = np.arange(256)[:, None] >> np.arange(8) & 1  # (256, 8), the circle from the north on
    ahead, beyond = np.roll(codes, -1, 1), np.roll(codes, -2, 1)
    # The number of 8-connected parts around it (Yokoi et al. 1973), counted at its four sides.
    parts = ((1 - codes) - (1 - codes) * (1 - ahead) * (1 - beyond))[:, ::2].sum(1)
    return (parts == 1) & (codes.sum(1) > 1) & (codes[:, side] == 0)


REMOVABLE = [_removable(side) for side in (0, 4, 2, 6)]


def thinned(mask: Mask) -> Mask:
    """Lines of one pixel in the middle of what is wider, joined as before: pixels of the rim go, from one side after
    the other, until none can.

    A line that is thin already stays. Source: Rosenfeld 1975, "A characterization of parallel thinning algorithms".
    """
    lines = mask.astype(np.uint8)
    while True:
        before = cv2.countNonZero(lines)
        for removable in REMOVABLE:
            around = cv2.filter2D(lines, cv2.CV_32F, AROUND, borderType=cv2.BORDER_CONSTANT).astype(np.uint8)
            lines[removable[around]] = 0
        if cv2.countNonZero(lines) == before:
            return lines > 0
