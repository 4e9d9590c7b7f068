"""A smooth curve through points that is monotone between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InvalidInput
from .colour import Array

Point = tuple[float, float]


def monotone(points: Sequence[Point]) -> Callable[[Array], Array]:
    """The cubic through points that is monotone between each two: Hermite's, its slopes the weighted harmonic means of
    the neighbouring chords', and zero where these differ in sign. Source: Fritsch & Carlson 1980; Fritsch & Butland
    1984.

    Raises:
        InvalidInput: as `curves`.
    """
    if not points:
        return lambda v: v
    x, y = np.array(sorted(points), dtype=np.float64).T
    if len(x) < 2 or not (np.diff(x) > 0).all() or not ((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)).all():
        raise InvalidInput(
            f"a curve through {list(points)!r:.100}: give two or more points (x, y) of different x, all within 0 to 1"
        )
    step = np.diff(x)
    chord = np.diff(y) / step
    slope = np.empty_like(x)
    w, u = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    before, after = chord[:-1], chord[1:]
    same = before * after > 0
    slope[1:-1] = np.where(same, (w + u) / (w / np.where(same, before, 1) + u / np.where(same, after, 1)), 0)
    slope[0], slope[-1] = chord[0], chord[-1]
    if len(x) > 2:
        slope[0], slope[-1] = _end(step[:2], chord[:2]), _end(step[:-3:-1], chord[:-3:-1])

    def f(v: Array) -> Array:
        v = v.clip(x[0], x[-1])
        i = np.searchsorted(x, v, side="right").clip(1, len(x) - 1) - 1
        t = (v - x[i]) / step[i]
        bend = step[i] * ((1 - t) * (slope[i] - chord[i]) - t * (slope[i + 1] - chord[i]))
        return y[i] + t * step[i] * chord[i] + t * (1 - t) * bend  # the chord, and what leaves it

    return f


def _end(step: Array, chord: Array) -> float:
    """The slope at an end: that of the parabola through three points, no steeper than three chords and of the chord's
    sign."""
    slope = ((2 * step[0] + step[1]) * chord[0] - step[0] * chord[1]) / (step[0] + step[1])
    if slope * chord[0] <= 0:
        return 0.0
    return 3 * chord[0] if chord[0] * chord[1] < 0 and abs(slope) > 3 * abs(chord[0]) else slope
