"""Anything that a detector's file knows: ONNX in the layout of YOLOv8, boxes or outlines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import InvalidFile, InvalidInput, UnknownName
from ...finish.detail import CLASS
from ...finish.detail import FILE as SUFFIX
from ...finish.detect import apart
from .. import finishing
from ..painter import Painter
from .finders import Find, Finder, Found, within

Array = NDArray[np.floating[Any]]
#: How sure a box must be, and how much of their union two boxes may share.
SURE, SHARED = 0.3, 0.5
#: The side that a file of free size is given.
SIDE = 640
#: What fills a picture up to the ratio that is read.
GREY = 114


def file(what: str, painter: Painter) -> Find:
    """What a file detects, or one class of that.

    Raises:
        UnknownName: no such file, or class. InvalidInput: onnxruntime is not installed.
        InvalidFile: another layout, or no ONNX.
    """
    name, _, label = what.partition(CLASS)
    detector = _detector(finishing.file(name))
    if label and label not in detector.names.values():
        raise UnknownName(f"class of {name}", label, detector.names.values())
    return lambda image: detector.detect(image, label)


FILE = Finder(
    knows=lambda what: what.partition(CLASS)[0].lower().endswith(SUFFIX),
    make=file,
    does="`FILE.onnx`: what a detector or segmenter in the layout of YOLOv8 knows; `FILE.onnx#CLASS` one class.",
)


@lru_cache(maxsize=2)
def _detector(path: Path) -> Detector:
    return Detector(path)


class Detector:
    """A network that reads (1, 3, H, W) in [0, 1] and says (1, 4 + C + M, N): middle, width and height of N boxes in
    pixels, how sure it is of C classes, and M weights of the outlines (1, M, h, w), of which a second output tells.

    Source: the layout that ultralytics exports of YOLOv8 (Jocher et al. 2023); outlines: Bolya et al. 2019, YOLACT.
    """

    def __init__(self, path: Path):
        try:
            import onnxruntime
        except ImportError:
            raise InvalidInput(f"{path.name} runs by onnxruntime: pip install 'danqing[onnx]'") from None
        try:
            self.session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            (self.input,) = self.session.get_inputs()
            _, channels, *sides = self.input.shape
            self.height, self.width = (side if isinstance(side, int) else SIDE for side in sides)
            said = self.session.get_modelmeta().custom_metadata_map.get("names", "")
        except Exception as error:  # a foreign file may make it raise anything
            raise InvalidFile(f"{path} is no detector that onnxruntime reads: {str(error)[:200]}") from None
        if channels != 3:
            raise InvalidFile(f"{path} reads {self.input.shape}; possible is (1, 3, height, width)")
        self.path, self.names = path, names_of(said)

    def detect(self, image: Image.Image, label: str = "") -> list[Found]:
        """What is in an RGB picture, the surest first; of one class where one is named.

        Raises:
            InvalidFile: the answer has another layout.
        """
        ratio = min(self.width / image.width, self.height / image.height)
        inner = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
        corner = (self.width - inner[0]) // 2, (self.height - inner[1]) // 2
        canvas = Image.new("RGB", (self.width, self.height), (GREY,) * 3)
        canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), corner)
        dtype = np.float16 if "float16" in self.input.type else np.float32
        x = (np.asarray(canvas, np.float32) / 255).transpose(2, 0, 1)[None].astype(dtype)
        try:
            answers = [np.asarray(each, np.float64) for each in self.session.run(None, {self.input.name: x})]
        except Exception as error:
            raise InvalidFile(f"{self.path} cannot be run: {str(error)[:200]}") from None
        outlines = answers[1][0] if len(answers) > 1 and answers[1].ndim == 4 else np.zeros((0, 1, 1))
        classes = answers[0].shape[1] - 4 - len(outlines) if answers[0].ndim == 3 else 0
        if classes < 1 or (self.names and classes != len(self.names)):
            shapes = " and ".join(str(each.shape) for each in answers)
            raise InvalidFile(f"{self.path} says {shapes}; possible is the layout of YOLOv8, (1, 4 + classes, boxes)")
        said = answers[0][0].T  # (N, 4 + C + M)
        scores = said[:, 4 : 4 + classes]
        kinds, sure = scores.argmax(1), scores.max(1)
        kept = sure >= SURE
        if label:
            kept &= np.array([self.names.get(int(kind)) == label for kind in kinds], bool)
        said, kinds, sure = said[kept], kinds[kept], sure[kept]
        boxes = np.concatenate([said[:, :2] - said[:, 2:4] / 2, said[:, :2] + said[:, 2:4] / 2], 1)
        found = list[Found]()
        for i in apart(boxes, sure, SHARED):
            box = within(tuple((boxes[i] - np.tile(corner, 2)) / ratio), image.size)
            mask = self._outline(said[i, 4 + classes :], outlines, corner, inner, box, image.size)
            kind = int(kinds[i])
            if box[0] < box[2] and box[1] < box[3] and (mask is None or mask.getbbox()):
                found.append(Found(box, min(1.0, float(sure[i])), self.names.get(kind, str(kind)), mask))
        return found

    def _outline(
        self, weights: Array, outlines: Array, corner: tuple[int, int], inner: tuple[int, int], box: Any, size: Any
    ) -> Image.Image | None:
        """sum_m w_m outline_m above 0, within the box; none where the network tells none."""
        if not len(outlines):
            return None
        field = Image.fromarray(np.tensordot(weights, outlines, 1).astype(np.float32))
        left, upper, right, lower = *corner, corner[0] + inner[0], corner[1] + inner[1]
        field = field.resize((self.width, self.height), Image.Resampling.BILINEAR).crop((left, upper, right, lower))
        inside = np.asarray(field.resize(size, Image.Resampling.BILINEAR)) > 0
        mask = Image.new("L", size)
        mask.paste(Image.fromarray((inside * 255).astype(np.uint8)).crop(box), box[:2])
        return mask


def names_of(said: str) -> Mapping[int, str]:
    """The classes of a file, as its metadata writes them: ``{0: 'face', 1: "hand"}``."""
    found = re.findall(r"(\d{1,6}): ?(?:'([^']{0,200})'|\"([^\"]{0,200})\")", said[:1_000_000])
    return {int(number): single or double for number, single, double in found}
