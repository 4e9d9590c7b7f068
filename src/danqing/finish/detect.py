"""What finds faces: MTCNN, whose weights a package brings; or nothing, where the picture is a portrait."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InvalidInput
from ..nets.mtcnn import Stage, onet, pnet, rnet
from ..run.device import find_device
from .align import resized, template
from .faces import Face
from .pixels import Levels

Boxes = NDArray[np.floating[Any]]
#: Pixels along the longer side in which faces are looked for: larger pictures are made smaller.
LONGEST = 1280


class MTCNN:
    """Photographed faces by MTCNN.

    A pyramid of the picture goes through the first network; each of the next looks closer at the boxes that are left.
    Source: Zhang et al. 2016, section 2.

    Args:
        weights: of the three networks, as `packaged` reads them.
        thresholds: how sure each must be.
        smallest: pixels along a side of the smallest face that is looked for, at least 12.
        device: as for `danqing.run.device.find_device`.
    """

    def __init__(
        self,
        weights: Sequence[Sequence[np.ndarray[Any, Any]]],
        *,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
        smallest: int = 20,
        device: str | torch.device | None = None,
    ):
        if smallest < 12:
            raise InvalidInput(f"smallest: {smallest} was given; possible are 12 pixels or more")
        self.device, self.thresholds, self.smallest = find_device(device), thresholds, smallest
        self.stages = [
            make().fill(arrays).to(self.device) for make, arrays in zip((pnet, rnet, onet), weights, strict=True)
        ]

    def detect(self, picture: Levels) -> list[Face]:
        """The faces of (H, W, 3) of uint8, RGB, the surest first."""
        height, width = picture.shape[:2]
        ratio = min(1.0, LONGEST / max(height, width))
        if ratio < 1:
            picture = resized(picture, (max(1, round(width * ratio)), max(1, round(height * ratio))))
        boxes = self.proposed(picture)
        boxes, _, _ = self.closer(picture, boxes, 1, 24)
        boxes, scores, landmarks = self.closer(picture, boxes, 2, 48)
        points = landmarks / ratio - 0.5
        return [Face(tuple(box / ratio), five, float(s)) for box, five, s in zip(boxes, points, scores, strict=True)]

    def proposed(self, picture: Levels) -> Boxes:
        """What the first network takes for faces, squares (N, 4)."""
        found, scale = [np.empty((0, 5))], 12 / self.smallest
        while min(size := (round(picture.shape[1] * scale), round(picture.shape[0] * scale))) >= 12:
            small = resized(picture, size)
            shifts, scores = self.answers(0, small[None])
            rows, columns = np.nonzero(scores[0] > self.thresholds[0])
            corner = 2.0 * np.stack([columns, rows, columns, rows], 1) + (0, 0, 12, 12)
            boxes = (corner + 12 * shifts[0][:, rows, columns].T) / scale
            some = np.column_stack([boxes, scores[0][rows, columns]])
            found.append(some[apart(some[:, :4], some[:, 4], 0.5)])
            scale *= 0.709
        every = np.concatenate(found)
        return squares(every[apart(every[:, :4], every[:, 4], 0.7), :4])

    def closer(self, picture: Levels, boxes: Boxes, stage: int, size: int) -> tuple[Boxes, Boxes, Boxes]:
        """What a later network leaves of squares (N, 4): (n, 4), how sure it is (n,), and landmarks (n, 5, 2)."""
        if not len(boxes):
            return boxes, np.empty(0), np.empty((0, 5, 2))
        *said, scores = self.answers(stage, np.stack([cut(picture, box, size) for box in boxes]))
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]  # (N, 1, 2)
        points = said[-1].reshape(len(boxes), 2, -1).transpose(0, 2, 1) * sides + boxes[:, None, :2]
        moved = boxes + said[0] * np.tile(sides[:, 0], 2)
        sure = np.flatnonzero(scores > self.thresholds[stage])
        kept = sure[apart(moved[sure], scores[sure], 0.7, within=stage == 2)]
        return moved[kept] if stage == 2 else squares(moved[kept]), scores[kept], points[kept]

    @torch.inference_mode()
    def answers(self, stage: int, pictures: Levels) -> list[Boxes]:
        """What a network says of (N, H, W, 3): shifts, (landmarks,) and the probabilities of faces."""
        x = (torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() - 127.5) / 128
        net: Stage = self.stages[stage]
        *said, odds = net(x.to(self.device))
        return [y.double().cpu().numpy() for y in (*said, odds.softmax(1)[:, 1])]


class Portrait:
    """A portrait, of which nothing is looked for: its middle square is the face. For drawn ones, in which MTCNN finds
    few."""

    def detect(self, picture: Levels) -> list[Face]:
        """That face, its landmarks where the template has them; (H, W, 3)."""
        height, width = picture.shape[:2]
        side = min(height, width)
        left, upper = (width - side) / 2, (height - side) / 2
        return [Face((left, upper, left + side, upper + side), template(side) + np.array([left, upper]))]


def packaged() -> list[list[np.ndarray[Any, Any]]]:
    """The weights of MTCNN that the package ``mtcnn`` brings, which itself is not run.

    Raises:
        InvalidInput: it is not installed.
    """
    found = importlib.util.find_spec("mtcnn")
    try:
        if found is None or not found.submodule_search_locations:
            raise ImportError
        import joblib
    except ImportError:
        raise InvalidInput("the weights that find faces are not installed: pip install 'danqing[faces]'") from None
    folder = Path(found.submodule_search_locations[0]) / "assets" / "weights"
    return [joblib.load(folder / f"{name}.lz4") for name in ("pnet", "rnet", "onet")]


# ---- boxes ---------------------------------------------------------------------------------------------------------


def squares(boxes: Boxes) -> Boxes:
    """The squares of the longer side around the same middles, (N, 4)."""
    middles, half = (
        (boxes[:, :2] + boxes[:, 2:]) / 2,
        (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True, initial=0) / 2,
    )
    return np.concatenate([middles - half, middles + half], 1)


def apart(boxes: Boxes, scores: Boxes, most: float, *, within: bool = False) -> NDArray[np.intp]:
    """Which boxes stay, the surest first, if none may overlap a surer one by more than ``most`` of their union, or,
    ``within``, of the smaller one."""
    left, kept = np.argsort(-scores, kind="stable"), []
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        both = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2])
        shared = both.clip(0).prod(1)
        whole = np.minimum(areas[first], areas[left]) if within else areas[first] + areas[left] - shared
        left = left[shared <= most * whole]
    return np.array(kept, dtype=np.intp)


def cut(picture: Levels, box: Boxes, size: int) -> Levels:
    """A square of the picture in ``size`` px, black beyond the rim."""
    left, upper, right, lower = np.rint(box).astype(int)
    side = max(1, right - left, lower - upper)
    part = picture[max(0, upper) : max(0, upper + side), max(0, left) : max(0, left + side)]
    whole = np.zeros((side, side, 3), np.uint8)
    y, x = max(0, -upper), max(0, -left)
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    return resized(whole, (size, size))
