"""The points of a face, numbered as in the iBUG 300-W set, and the squares in which networks see it upright."""

from __future__ import annotations

import numpy as np

from ..finish.align import Array

#: Which points are the tip of the nose and the corners of the mouth.
NOSE, MOUTH = 30, (48, 54)
#: Which points are of the eyes, of the one that is left in the picture first.
EYES = slice(36, 42), slice(42, 48)


def five(points: Array) -> Array:
    """The eyes' middles, the tip of the nose and the corners of the mouth, (5, 2), of all points (68, 2)."""
    return np.stack([*(points[eye].mean(0) for eye in EYES), points[NOSE], *points[list(MOUTH)]])


def seen(box: Array, size: int) -> Array:
    """The similarity that brings a box, (left, top, right, bottom), into the middle of ``size`` px, its longer side
    filling them, as a matrix (2, 3)."""
    return _square((box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()), np.eye(2), size)


def upright(points: Array, margin: float, size: int) -> Array:
    """The same of what holds all points (68, 2), so much wider, turned so that the line between the eyes is level."""
    left, right = five(points)[:2]
    x, y = (right - left) / max(float(np.hypot(*(right - left))), 1e-9)
    turn = np.array([[x, y], [-y, x]])
    turned = points @ turn.T
    low, high = turned.min(0), turned.max(0)
    return _square((low + high) / 2, float((high - low).max()) * (1 + margin), turn, size)


def _square(middle: Array, side: float, turn: Array, size: int) -> Array:
    scale = size / max(side, 1e-9)
    return np.column_stack([scale * turn, (size - 1) / 2 - scale * middle])
