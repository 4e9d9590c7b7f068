"""Hints of faces: five points and what joins them, as networks of InstantID read them, or all as white dots."""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, degrees, hypot

import cv2
import numpy as np
from PIL import Image

from ..finish.align import Array
from .base import Draw, Warn
from .drawn import visible

#: Of the two eyes, the tip of the nose and the two corners of the mouth; each is joined to the nose.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
NOSE = 2
#: How wide what joins them is drawn to each side, and how wide points are, in pixels of 1024 of the shorter side; dots
#: of all points in pixels of 512.
WIDE, ROUND, DOT = 4.0, 10.0, 2.0


def drawer(five: bool, every: bool) -> Draw:
    """What draws faces: five points of each or all, of every face or of the largest alone."""
    from ..identity import analysis

    def draw(picture: Image.Image, warn: Warn) -> Image.Image:
        levels = np.ascontiguousarray(visible(picture))
        finds = analysis.shipped()
        faces = analysis.largest_first(finds.detect(levels))
        if not faces:
            warn("no face was found: the hint is black. Faces are found in photographs, hardly in drawings")
        shown = faces if every else faces[:1]
        if five:
            return drawn(picture.size, [face.landmarks for face in shown])
        return dotted(picture.size, [finds.points(levels, face) for face in shown])

    return draw


def drawn(size: tuple[int, int], faces: Sequence[Array]) -> Image.Image:
    """Five points of each face, (5, 2), as discs, over ellipses of three fifths of their colours to the nose.

    Source: InstantX, InstantID's ``draw_kps``, whose sizes are these at 1024 px.
    """
    sheet = np.zeros((size[1], size[0], 3), np.uint8)
    scale = min(size) / 1024
    for face in faces:
        for n, colour in enumerate(COLOURS):
            if n != NOSE:
                across, (x, y) = face[n] - face[NOSE], (face[n] + face[NOSE]) / 2
                reach = int(hypot(*across) / 2), max(1, round(WIDE * scale))
                turn = int(degrees(atan2(across[1], across[0])))
                shape = cv2.ellipse2Poly((int(x), int(y)), reach, turn, 0, 360, 1)
                cv2.fillConvexPoly(sheet, np.array(shape), [int(0.6 * level) for level in colour])
        for (x, y), colour in zip(face, COLOURS, strict=True):
            cv2.circle(sheet, (int(x), int(y)), max(1, round(ROUND * scale)), colour, -1)
    return Image.fromarray(sheet)


def dotted(size: tuple[int, int], faces: Sequence[Array]) -> Image.Image:
    """All points of each face, (N, 2), as white dots.

    Source: lllyasviel/ControlNet, annotator/openpose, which draws those of OpenPose's faces so.
    """
    sheet = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y in np.concatenate(faces) if faces else ():
        cv2.circle(sheet, (int(x), int(y)), max(1, round(DOT * min(size) / 512)), (255, 255, 255), -1)
    return Image.fromarray(sheet)
