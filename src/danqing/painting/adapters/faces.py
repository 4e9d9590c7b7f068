"""Whose face a picture shows, as numbers: a recogniser of the user's own, and what finds and turns the face for it.

Nothing here is needed, nor looked for, before an adapter that reads faces is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import InvalidFile, InvalidInput
from ...finish.align import Array, umeyama
from ...finish.detect import MTCNN, packaged
from ...finish.pixels import Levels
from ...store import settings

#: Where recognisers of faces want the eyes, the tip of the nose and the corners of the mouth in `SIDE` px, left to
#: right in the picture. Source: Deng et al. 2019, "ArcFace", and insightface's published code.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
SIDE = 112
#: The recogniser by which the published adapters of faces were trained, and the folder of models in which ComfyUI keeps
#: it.
FILE, FOLDER = "w600k_r50.onnx", "insightface"
#: The side of the face that an image tower is shown, in pixels.
SHOWN = 224


class FaceEmbedding(Protocol):
    """Tells whose face it is."""

    def __call__(self, face: Levels, /) -> Tensor:
        """(112, 112, 3) of uint8, RGB, its landmarks at `TEMPLATE` -> (1, F), F numbers of any length."""
        ...


class Seen(NamedTuple):
    """What is read of a face: the recogniser's numbers, (1, F), and the face upright, for an image tower."""

    numbers: Tensor
    crop: Image.Image


class ArcFace:
    """A recogniser of faces in a file of ONNX, in insightface's layout: one input (1, 3, 112, 112) of RGB in [-1, 1],
    one output (1, F).

    Raises:
        InvalidFile: it holds none.
    """

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
        try:
            self.session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
            if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, SIDE, SIDE] or len(outputs) != 1:
                raise ValueError(f"it reads {[each.shape for each in inputs]}")
        except Exception as error:  # onnxruntime's own kinds of errors share no class
            why = str(error).splitlines()[0][:200]
            raise InvalidFile(f"{path} is no recogniser of faces of {SIDE}×{SIDE} pixels: {why}") from None
        self.name = inputs[0].name

    def __call__(self, face: Levels, /) -> Tensor:
        levels = (face.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        return torch.from_numpy(self.session.run(None, {self.name: levels})[0]).reshape(1, -1)


def recogniser(given: str, adapter: str) -> Path:
    """The file of the recogniser.

    Args:
        given: its path; "" for the first of its usual name in the folders of models.

    Raises:
        InvalidFile: what reads faces is not all there; the one error names each part, and where to get it.
    """
    path = Path(os.path.expanduser(given)) if given else next(_usual(), None)
    missing = list[str]()
    if path is None or not path.is_file():
        missing.append(
            f"{given or FILE}, a recogniser of faces: of insightface's package buffalo_l, whose weights may be used "
            f"for non-commercial research alone; put it into a folder {FOLDER} of your models, or state faces"
        )
    if not find_spec("onnxruntime"):
        missing.append("what runs it: pip install 'danqing[onnx]'")
    if not find_spec("mtcnn"):
        missing.append("the weights that find faces: pip install 'danqing[faces]'")
    if missing or path is None:
        raise InvalidFile(f"{adapter} reads faces, and these parts are missing: {'; '.join(missing)}")
    return path


def _usual() -> Iterator[Path]:
    for root in settings.read().models:
        for base in (root, root / "models"):
            yield from sorted((base / FOLDER).rglob(FILE))


@lru_cache(maxsize=1)
def embedding(path: Path, stamp: int) -> FaceEmbedding:
    """The recogniser in a file, which is read again where its time changes."""
    return ArcFace(path)


@lru_cache(maxsize=1)
def detector() -> MTCNN:
    """What finds faces."""
    return MTCNN(packaged(), device="cpu")


def seen(image: Image.Image, of: FaceEmbedding) -> tuple[Seen, int]:
    """The largest face of an RGB picture, and how many there are.

    Raises:
        InvalidInput: there is none.
    """
    picture = np.asarray(image)
    found = detector().detect(picture)
    if not found:
        raise InvalidInput(
            f"no face was found in the picture of {image.width}×{image.height}, and the adapter reads faces: give one "
            "that shows a face from the front, at least 20 pixels wide"
        )
    largest = max(found, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
    crop = Image.fromarray(aligned(picture, largest.landmarks, SHOWN))
    return Seen(of(aligned(picture, largest.landmarks, SIDE)), crop), len(found)


def aligned(picture: Levels, landmarks: Array, size: int) -> Levels:
    """A face upright in ``size`` px, black beyond the picture: as insightface's ``norm_crop``, since recognisers were
    trained on faces cut out so."""
    matrix = umeyama(landmarks, TEMPLATE * (size / SIDE))
    return np.asarray(cv2.warpAffine(picture, matrix, (size, size), borderValue=0), np.uint8)
