"""Faces, by the detector of `danqing.finish.detect`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from ...finish.detect import MTCNN, packaged
from ..painter import Painter
from .finders import Find, Finder, Found, within


@lru_cache(maxsize=1)
def _detector(device: str) -> MTCNN:
    return MTCNN(packaged(), device=device)


def faces(what: str, painter: Painter) -> Find:
    """Photographed faces; of drawn ones it finds those that look like them.

    Raises:
        InvalidInput: the detector's weights are not installed.
    """
    detector = _detector(str(painter.device))

    def find(image: Image.Image) -> list[Found]:
        found = detector.detect(np.array(image))
        return [Found(within(face.box, image.size), face.score, "face") for face in found]

    return find


FACE = Finder(knows=lambda what: what == "face", make=faces, does="`face`: photographed faces, by MTCNN.")
