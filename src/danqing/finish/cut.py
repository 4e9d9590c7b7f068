"""A drawing off its background: what is joined to the border and has the background's colour becomes transparent, the
rim unmixed."""

from __future__ import annotations

from functools import reduce
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput
from .pixels import Raster, apart, bled, filled, together, top
from .warned import WithWarnings

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

#: The part of the border that must be one background.
ENOUGH = 0.6
#: How many pixels wide the rim is in which colours are mixtures, and how far from there the pure ones are.
RIM = REACH = 2
#: How far off a line through the background's colour the mixtures of one colour are, of 1.
STRAY = 0.08


class CutOut(WithWarnings):
    """A finish: a drawing on a background that is plain or changes smoothly -> the drawing alone, with transparency.

    The background B is for each channel a polynomial of the second degree in (x, y), fitted to the border by weights
    that fall with the distance (L1, then Welsch's), so that what lies across the border counts little. Background is
    what is joined to the border and within the tolerance of B, which is then bent to the colours found there; what is
    enclosed stays. In the rim a pixel is taken for a mixture ``I = α F + (1 - α) B``: of the colours nearby, the one
    far from B and near the line from B through I says where on the line α is 1, and the F that is written gives I
    exactly. It is straight, so no other background shows a rim of this one. Transparency that is there stays.

    On 650 drawings of 128 px with known transparency, laid on white: mean |Δα| 0.012, mean IoU 0.976, above 0.95 for 89
        % of them; on
    blue 0.011, 0.978, 91 %. Most of the others have enclosed gaps: where those count as inside, 98 % of every second
    are above 0.95.

    Args:
        tolerance: how far a colour may be from the background's, in the channel that differs most, of 1.

    Raises:
        InvalidInput: a tolerance outside 0 .. 1, or OpenCV is not installed.
    """

    def __init__(self, *, tolerance: float = 0.06):
        if not 0 <= tolerance <= 1:
            raise InvalidInput(f"tolerance: {tolerance!r} was given; possible is a number from 0 to 1")
        self.tolerance = tolerance

    def with_warnings(self, picture: Raster) -> tuple[Raster, tuple[str, ...]]:
        """The picture, and why it is as it was, where so.

        Args:
            picture: of Pillow, in any mode of levels, or an array (H, W, 1 to 4) of uint8 or uint16.

        Raises:
            InvalidInput: a picture of no levels, or of colours and transparency that Pillow does not hold.
        """
        pixels = apart(picture)
        if not edge(pixels.visible).all():
            return picture, ("nothing was cut out: the border is transparent already",)
        white = top(pixels.colour)
        image = bled(pixels) / np.float32(white)
        ground, share = fitted(image, self.tolerance)
        if share < ENOUGH:
            return picture, (
                f"nothing was cut out: {share:.0%} of the border is one background, and {ENOUGH:.0%} should be",
            )
        ground, outside, sure = parted(image, ground, self.tolerance)
        if outside.all():
            return picture, ("nothing was cut out: all of the picture is background",)
        alpha = (
            np.ceil(cover(image, ground, outside, sure) * white - 1e-4) / white
        )  # up, so that pure colours are colours
        pure = np.where(alpha < 1, ground + (image - ground) / np.maximum(alpha, 1e-6), image)  # exactly itself inside
        clear = alpha if pixels.alpha is None else alpha * pixels.alpha / white
        colour, clear = (np.rint(part.clip(0, 1) * white).astype(pixels.colour.dtype) for part in (pure, clear))
        cut = pixels._replace(colour=colour, alpha=clear)
        return together(cut._replace(colour=bled(cut)), picture), ()


def edge(levels: NDArray[Any]) -> NDArray[Any]:
    """What is along the border, (N, ...)."""
    return np.concatenate([levels[0], levels[-1], levels[1:-1, 0], levels[1:-1, -1]])


def distance(image: Array, ground: Array) -> Array:
    """(H, W): the difference of two pictures (H, W, C) in the channel that differs most."""
    return reduce(np.maximum, np.moveaxis(np.abs(image - ground), -1, 0))


def fitted(image: Array, tolerance: float) -> tuple[Array, float]:
    """The polynomial background of a picture (H, W, C), and the part of the border that is within the tolerance of it.

    Of the degrees 0, 1 and 2 it is the one that most of the border is near, the lower where that is as good.
    """
    y, x = (axis.astype(np.float32) for axis in np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j])
    powers = (np.ones_like(x), x, y, x * x, x * y, y * y)  # each (H, W)
    borders, values = np.stack([edge(power) for power in powers], -1).astype(float), edge(image).astype(float)

    sides = np.repeat(range(4), [len(x[0]), len(x[0]), len(x) - 2, len(x) - 2])

    def of(terms: int, start: Array) -> tuple[float, Array]:
        """What share of the border the first powers explain, and the factors (terms, C), begun from some of it."""
        basis = borders[:, :terms]

        def least(weight: Array) -> tuple[Array, Array]:
            factors = np.linalg.lstsq(basis * weight[:, None], values * weight[:, None], rcond=1e-9)[0]
            return factors, np.abs(basis @ factors - values).max(1)

        factors, off = least(start)
        for _ in range(10):
            factors, off = least(start * np.maximum(off, 1e-3) ** -0.5)
        for scale in np.geomspace(max(0.25, tolerance), max(tolerance / 2, 1e-3), 8):
            factors, off = least(np.exp(-((off / scale) ** 2) / 2))
        return float((off <= tolerance).mean()), factors

    begun = [
        (sides != left_out).astype(float) for left_out in range(-1, 4)
    ]  # all of it, and without a side that a body may cover
    found = [of(terms, start) for terms in (1, 3, 6) for start in begun]
    share, factors = max(found, key=lambda one: one[0] - 0.002 * len(one[1]))
    ground = np.zeros_like(image)
    for power, factor in zip(powers, factors.astype(np.float32), strict=False):
        ground += power[..., None] * factor
    return ground, share


def joined(near: Mask) -> Mask:
    """The part of a mask that is joined to the border, through sides of pixels."""
    _, parts = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    return np.isin(parts, edge(parts)) & near


def grown(mask: Mask, by: int) -> Mask:
    """A mask and all that is so many pixels or fewer from it, diagonals counted as one."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def parted(image: Array, ground: Array, tolerance: float) -> tuple[Array, Mask, Mask]:
    """The background bent to the picture, what belongs to it, and where nothing is mixed into that.

    Between and beyond what is sure the background goes on as before; the second time it is nearer, so more of it is
    found.
    """
    outside = sure = np.zeros(image.shape[:2], bool)
    for _ in range(2):
        outside = joined(distance(image, ground) <= tolerance)
        sure = outside & ~grown(~outside, RIM)
        sure = sure if sure.any() else outside
        weight = sure[..., None].astype(np.float32)
        ground = (ground + filled((image - ground) * weight, weight)).clip(0, 1)
    return ground, outside, sure


def cover(image: Array, ground: Array, outside: Mask, sure: Mask) -> Array:
    """α, (H, W, 1): 0 in the background and 1 inside, and in the rim the part of the way from B to what the pixel is
    mixed of.

    Of the colours F of inside pixels nearby it is the one of the greatest ``|F - B| exp(-(s / STRAY)²)``, s how far the
    pixel is off the line from B to F.
    """
    height, width = outside.shape
    off = distance(image, ground)
    noise = max(np.quantile(off[sure], 0.99), 0.75 / 255)
    rim = np.where(outside, (off > noise) & grown(~outside, 1), grown(outside, RIM))
    rows, columns = np.nonzero(rim)  # (N,)
    dy, dx = (part.ravel() for part in np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1])
    ys, xs = (rows[:, None] + dy).clip(0, height - 1), (columns[:, None] + dx).clip(0, width - 1)  # (N, K)
    base = ground[rows, columns]
    mixed, pure = image[rows, columns] - base, image[ys, xs] - base[:, None]  # (N, C), (N, K, C)
    square = np.maximum((pure**2).sum(-1), 1e-12)
    share = (pure * mixed[:, None]).sum(-1) / square
    stray = np.abs(mixed[:, None] - share[..., None] * pure).max(-1)
    fits = np.where(outside[ys, xs] | (share <= 0) | (share > 1), 0, np.sqrt(square) * np.exp(-((stray / STRAY) ** 2)))
    best = (np.arange(len(rows)), fits.argmax(1))
    alpha = (~outside).astype(np.float32)
    alpha[rows, columns] = np.where(fits[best] > 0, share[best].clip(0, 1), alpha[rows, columns])
    # No colour is lighter than white or darker than black: of less than this, F would have to be. Noise is none of it.
    room = np.maximum(np.where(image > ground, 1 - ground, ground), 1e-6)
    least = reduce(np.maximum, np.moveaxis((np.abs(image - ground) - 3 * noise) / room, -1, 0)).clip(0, 1)
    return np.where(rim & (alpha > 0), np.maximum(alpha, least), alpha)[..., None]
