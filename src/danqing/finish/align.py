"""Faces upright and of one size, and back: the similarity that brings landmarks to a template, and pictures moved by
it.

Points are (x, y) in pixels, the middle of the first pixel at (0, 0). A similarity is a matrix M (2, 3): ``p' = M [p,
1]``.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidInput

Array = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

#: Where the eyes, the tip of the nose and the corners of the mouth of a face of FFHQ lie in 512 px, left to right in
#: the picture. Restorers are trained on faces that lie so. Source: xinntao/facexlib, the template of its restoration
#: helper.
TEMPLATE = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
#: How much of a side of the face's square is not taken at all, and over how much more it is taken ever more, up to
#: wholly.
ERODED, FEATHER = 1 / 32, 1 / 8


def template(size: int) -> Array:
    """The template in ``size`` px, (5, 2)."""
    return (TEMPLATE + 0.5) * (size / 512) - 0.5


def umeyama(source: Array, target: Array) -> Array:
    """The similarity M that minimises ``sum_i |target_i - M source_i|^2``, without reflections, (2, 3).

    ``c = tr(D S) / var(x),  R = U S V^T,  t = mean(y) - c R mean(x)`` with ``U D V^T = cov(y, x)`` and S = diag(1, ±1),
    so that R turns. Source: Umeyama 1991, eqs. 39 to 43.

    Args:
        source, target: (N, 2), N >= 2.

    Raises:
        InvalidInput: all points of one of them are the same.
    """
    x, y = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(y.T @ x)
    s = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    power, strength = float((x**2).sum()), float(d @ s)
    if not (power > 0 and strength > 0):
        raise InvalidInput("landmarks that lie in one point have no direction and no size: give those of a face")
    turn = strength / power * (u * s) @ vt
    return np.column_stack([turn, target.mean(0) - turn @ source.mean(0)])


def inverse(matrix: Array) -> Array:
    """The similarity back, (2, 3)."""
    back = np.linalg.inv(matrix[:, :2])
    return np.column_stack([back, -back @ matrix[:, 2]])


def applied(matrix: Array, points: Array) -> Array:
    """M of points (..., 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def magnification(matrix: Array) -> float:
    """How many times larger a similarity makes things."""
    return float(np.sqrt(np.abs(np.linalg.det(matrix[:, :2]))))


def moved(picture: Array, matrix: Array, size: tuple[int, int]) -> Array:
    """A picture (H, W, C) of float32 under a similarity, seen in a frame of (width, height): (height, width, C).

    What becomes smaller is averaged first, so that nothing flickers; beyond its rim the picture is mirrored.

    Raises:
        InvalidInput: OpenCV is not installed.
    """
    scale, (height, width) = magnification(matrix), picture.shape[:2]
    if scale < 1:
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        ratio = np.array([width / smaller[0], height / smaller[1]])
        # A pixel q of the smaller picture lies at ratio (q + 1/2) - 1/2 of the picture.
        matrix = np.column_stack([matrix[:, :2] * ratio, applied(matrix, ratio / 2 - 0.5)])
        picture = resized(picture, smaller)
    answer: Any = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return answer.reshape(size[1], size[0], -1)


def feather(points: Array, size: int, cut: Flags) -> Array:
    """How much of a face of ``size`` px is taken at points (..., 2) of it: 1 in the middle, falling smoothly to 0
    before its rim.

    ``m = s(x) s(y)``, ``s(x) = 3u² - 2u³``, u the distance to the nearer side, less what is eroded, in parts of the
    feather.

    Args:
        cut: (2, 2) of booleans, the left and the right, the upper and the lower side: whether the picture ends there,
            so that there is nothing to blend with.
    """
    place = (points + 0.5) / size
    sides = np.stack([place, 1 - place], -1)  # (..., 2, 2)
    u = ((np.where(cut, 1.0, sides).min(-1) - ERODED) / FEATHER).clip(0, 1)
    inside = ((place >= 0) & (place <= 1)).all(-1)
    return (u * u * (3 - 2 * u)).prod(-1) * inside


def beyond(corners: Array, width: int, height: int) -> Flags:
    """Which sides of a square lie on the rim of a picture or beyond it, (2, 2), see `feather`.

    Args:
        corners: (2, 2, 2): lower or upper, right or left, (x, y) in the picture.
    """
    room = 1e-3 - 0.5
    outside = np.concatenate([corners <= room, corners >= np.array([width, height]) - 1 - room], -1)  # (2, 2, 4)
    return np.array([outside.all(0).any(-1), outside.all(1).any(-1)])


def resized(picture: Any, size: tuple[int, int]) -> Any:
    """A picture (H, W, C) at another (width, height): each pixel a mean where it becomes smaller, else between two."""
    smaller = size[0] < picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
