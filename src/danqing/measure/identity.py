"""How alike faces are: of two pictures, and of many, whether the right person is the nearest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InvalidInput
from ..identity import analysis
from ..identity.analysis import Known
from ..pictures import read
from ..pictures.picture import Picture

if TYPE_CHECKING:
    #: A picture's file, one in memory, or one that was painted.
    Source = str | os.PathLike[str] | Image.Image | Picture

#: How far apart faces of one person are at most, by those who trained the recogniser (King, dlib-models).
ONE_PERSON = 0.6


def find_faces(picture: Source) -> list[Known]:
    """The faces of a picture, the largest first: of each its box, 5 and 68 points, and 128 numbers that say whose it
    is.

    Raises:
        InvalidFile: the picture cannot be read. InvalidInput: danqing-identity is not installed.
    """
    if isinstance(picture, Picture):
        picture = picture.image
    image = read.plain(picture) if isinstance(picture, Image.Image) else read.picture(picture)
    return analysis.shipped().faces(np.asarray(read.over_white(image)))


def face_distance(one: Source, other: Source) -> float:
    """How far apart the largest faces of two pictures are, ``|f(a) - f(b)|``, f the recogniser's 128 numbers: 0 for the
    same picture, below `ONE_PERSON` for one person as a rule, about 0.7 for any two.

    Raises:
        InvalidInput: there is no face in one of them, or danqing-identity is not installed. InvalidFile: a picture
            cannot be read.
    """
    found = [find_faces(each) for each in (one, other)]
    for n, faces in enumerate(found, 1):
        if not faces:
            raise InvalidInput(f"no face was found in picture {n} of 2: give one that shows a face from the front")
    return float((found[0][0].numbers - found[1][0].numbers).norm())


def retrieved(queries: Tensor, gallery: Tensor, whose: Sequence[int]) -> float:
    """The share of queries whose nearest in a gallery is the right person.

    Args:
        queries: (N, F). gallery: (M, F), one of each person.
        whose: of each query, which of the gallery it is.

    Raises:
        InvalidInput: as many answers as queries there are not.
    """
    if len(whose) != len(queries) or not len(queries):
        raise InvalidInput(f"{len(queries)} queries and {len(whose)} answers were given; possible is one answer each")
    nearest = torch.cdist(queries.double(), gallery.double()).argmin(1)
    return float((nearest == torch.as_tensor(whose, device=nearest.device)).double().mean())
