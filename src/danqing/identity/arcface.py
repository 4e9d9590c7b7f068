"""A recogniser of faces of the user's own: ArcFace, in a file of ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import InvalidFile
from ..finish.align import Array, umeyama
from ..finish.faces import Face
from ..finish.pixels import Levels

#: Where recognisers of faces want the eyes, the tip of the nose and the corners of the mouth in `SIDE` px, left to
#: right in the picture. Source: Deng et al. 2019, "ArcFace", and insightface's published code.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
SIDE = 112


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

    def numbers(self, picture: Levels, face: Face) -> Tensor:
        """Whose a face is, (1, F)."""
        shown = aligned(picture, face.landmarks, SIDE)
        levels = (shown.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        return torch.from_numpy(self.session.run(None, {self.name: levels})[0]).reshape(1, -1)


def aligned(picture: Levels, landmarks: Array, size: int) -> Levels:
    """A face upright in ``size`` px, black beyond the picture: as insightface's ``norm_crop``, since recognisers were
    trained on faces cut out so."""
    matrix = umeyama(landmarks, TEMPLATE * (size / SIDE))
    return np.asarray(cv2.warpAffine(picture, matrix, (size, size), borderValue=0), np.uint8)
