"""What finds faces, marks their points and tells whose they are: three small networks that ship, `Analysis`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from .. import installed
from ..finish.align import Array, applied, inverse, moved, resized
from ..finish.detect import apart
from ..finish.faces import Face
from ..finish.pixels import Levels
from ..nets.face_finder import CELL, FaceFinder, boxes
from ..nets.face_landmarks import FaceLandmarks
from ..nets.face_recogniser import FaceRecogniser
from ..run.device import find_device
from ..weights.load import load
from .points import five, seen, upright

#: The folder of the networks in the package that brings them, and their files.
FOLDER, FILES = "face-analysis", ("finder.safetensors", "landmarks.safetensors", "recogniser.safetensors")
#: Pixels along the longer side of the picture at each look: faces are found that fill a twentieth of it or more.
LOOKS = (224, 320, 416, 608, 800)
#: How sure one look must be to count, and all of them together; how much of their union two boxes of one face share.
COUNTS, ENOUGH, SAME = 0.4, 0.8, 0.3
#: How much wider than its points a face is shown: to the one that marks the points, and to the recogniser. Measured on
#: photographs that were turned, made smaller, darker and pressed, by how often the right one was the nearest.
MARKED, KNOWN = 0.5, 0.4


class Known(NamedTuple):
    """A face that was found and read.

    Args:
        face: where it is, its five points, and how sure it is.
        points: (68, 2), (x, y) in pixels from the middle of the first one, numbered as in the iBUG 300-W set.
        numbers: (128,), whose it is.
    """

    face: Face
    points: Array
    numbers: Tensor


class Recognises(Protocol):
    """What tells whose a face is."""

    def numbers(self, picture: Levels, face: Face) -> Tensor:
        """Of a face of (H, W, 3) of uint8, RGB: (1, F), F numbers of any length."""
        ...


class Analysis:
    """Faces by face-api.js's networks: a `danqing.finish.faces.Detector` that marks them, and `Recognises`.

    A picture is looked at in several sizes, for a small network knows faces of a few cells alone; what is found near
    the same place is one face, if all looks together are sure enough. Each face is then seen upright.

    Args:
        finder, landmarks, recogniser: the networks.
        device: as for `danqing.run.device.find_device`.
    """

    def __init__(
        self,
        finder: FaceFinder,
        landmarks: FaceLandmarks,
        recogniser: FaceRecogniser,
        *,
        device: str | torch.device | None = None,
    ):
        self.device = find_device(device)
        self.finder = finder.to(self.device)
        self.landmarks = landmarks.to(self.device)
        self.recogniser = recogniser.to(self.device)

    def detect(self, picture: Levels) -> list[Face]:
        """The faces of (H, W, 3) of uint8, RGB, the surest first."""
        looks = [look for size in LOOKS for look in self._look(picture, size)]
        found = list[Face]()
        for score, box in _together(np.array(looks).reshape(-1, 5)):
            marks = five(self._marked(picture, seen(box, self.landmarks.config.size)))
            left, upper, right, lower = map(float, box)
            found.append(Face((left, upper, right, lower), marks, score))
        return sorted(found, key=lambda face: -face.score)

    def points(self, picture: Levels, face: Face) -> Array:
        """The sixty-eight points of a face, (68, 2)."""
        return self._marked(picture, seen(np.asarray(face.box), self.landmarks.config.size))

    def numbers(self, picture: Levels, face: Face) -> Tensor:
        """Whose a face is, (1, 128)."""
        return self._numbers(picture, self.points(picture, face))

    def faces(self, picture: Levels) -> list[Known]:
        """All that is known of every face, the largest first."""
        marked = [(face, self.points(picture, face)) for face in largest_first(self.detect(picture))]
        return [Known(face, points, self._numbers(picture, points)[0]) for face, points in marked]

    @torch.inference_mode()
    def _look(self, picture: Levels, size: int) -> Array:
        """The faces that one look finds, (N, 5): how sure it is, then the box."""
        height, width = picture.shape[:2]
        ratio = size / max(height, width)
        side = -(-size // CELL) * CELL
        small = resized(picture, (max(1, round(width * ratio)), max(1, round(height * ratio))))
        shown = np.zeros((side, side, 3), np.uint8)
        shown[: small.shape[0], : small.shape[1]] = small
        places, scores = boxes(self.finder(self._of(shown))[0])
        box, sure = places.double().cpu().numpy() * (CELL / ratio), scores.double().cpu().numpy()
        some = np.flatnonzero(sure > COUNTS)
        kept = some[apart(box[some], sure[some], SAME)]
        return np.column_stack([sure[kept], box[kept]])

    def _marked(self, picture: Levels, matrix: Array) -> Array:
        """The points by three looks, each of which has the face more upright."""
        size = self.landmarks.config.size
        points = self._mark(picture, matrix)
        for _ in range(2):
            points = self._mark(picture, upright(points, MARKED, size))
        return points

    @torch.inference_mode()
    def _mark(self, picture: Levels, matrix: Array) -> Array:
        size = self.landmarks.config.size
        shown = moved(picture.astype(np.float32), matrix, (size, size))
        said = self.landmarks(self._of(shown))[0].double().cpu().numpy()
        return applied(inverse(matrix), said * size - 0.5)

    @torch.inference_mode()
    def _numbers(self, picture: Levels, points: Array) -> Tensor:
        size = self.recogniser.config.size
        shown = moved(picture.astype(np.float32), upright(points, KNOWN, size), (size, size))
        return self.recogniser(self._of(shown)).cpu()

    def _of(self, levels: Array | Levels) -> Tensor:
        """Levels 0 to 255, (H, W, 3), as the networks are shown them: (1, 3, H, W) in [0, 1]."""
        return torch.from_numpy(np.ascontiguousarray(levels)).permute(2, 0, 1)[None].float().to(self.device) / 255


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """Faces by the area of their boxes."""
    return sorted(faces, key=lambda face: (face.box[0] - face.box[2]) * (face.box[3] - face.box[1]))


def _together(looks: Array) -> Iterator[tuple[float, Array]]:
    """What looks (N, 5) found near the same place, as one: how sure the surest is, and the mean box by how sure each
    is."""
    left = np.argsort(-looks[:, 0], kind="stable")
    areas = (looks[:, 3:] - looks[:, 1:3]).clip(0).prod(1)
    while len(left):
        first = left[0]
        shared = np.minimum(looks[first, 3:], looks[left, 3:]) - np.maximum(looks[first, 1:3], looks[left, 1:3])
        both = shared.clip(0).prod(1)
        near = both > SAME * (areas[first] + areas[left] - both)
        near[0] = True
        group, left = looks[left[near]], left[~near]
        if group[:, 0].sum() >= ENOUGH:
            yield float(group[0, 0]), group[:, 0] @ group[:, 1:] / group[:, 0].sum()


@lru_cache(maxsize=1)
def shipped() -> Analysis:
    """The networks that the package danqing-identity brings, on the processor, where faces are read alike on every
    machine.

    Raises:
        InvalidInput: it is not installed.
    """
    nets = (load(installed.require(FOLDER, file), dtype=torch.float32) for file in FILES)
    finder, landmarks, recogniser = nets
    return Analysis(
        cast(FaceFinder, finder), cast(FaceLandmarks, landmarks), cast(FaceRecogniser, recogniser), device="cpu"
    )
