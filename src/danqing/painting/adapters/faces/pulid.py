"""PuLID: tokens of what a recogniser says of a face and of what EVA-CLIP's image tower sees of it at five depths; where
the face lies is left to the words.

Source: Guo et al. 2024, "PuLID: pure and lightning ID customization via contrastive alignment", section 3, and its
published code. That whites out what a network finds to be no face and no hair; here it is what lies outside of the
face's points and the brow above them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ....errors import DanqingError, InvalidInput
from ....finish.align import Array, applied, template, umeyama
from ....finish.faces import Face
from ....finish.pixels import Levels
from ....identity import analysis
from ....nets.ip_adapter import IPAdapter, IPAdapterConfig
from ....nets.pulid import Apart
from ....nets.unet import CrossAttention
from ....pictures import read as pictures
from ....request.kept_face import KeptFace
from ....store import library
from ....weights import registry, store
from .. import towers
from ..attachment import Warn
from .reading import chosen, missing, require, seen
from .way import Given, Read, Way, files, paired

HUB = "guozinan/PuLID at the hub (Apache-2.0)"
#: The tower that the published adapters see through.
TOWER = "EVA02_CLIP_L_336_psz14_s6B.pt of QuanSun/EVA-CLIP at the hub (MIT)"
#: How many empty tokens join the face's, by the adapter's kind and by whether the face is kept faithfully.
EMPTY = {("pulid", True): 8, ("pulid", False): 16, ("pulid-resampler", True): 20, ("pulid-resampler", False): 20}
#: The side of the upright face that is seen, in pixels; what lies outside of a picture there is this grey.
SIDE, BEYOND = 512, (132, 133, 135)
#: How far above the brows the brow reaches, in parts of the way from the chin to them.
BROW = 0.4
#: Of sixty-eight points: the chin, and the brows.
CHIN, BROWS = 8, slice(17, 27)
#: ITU-R BT.601, by which a face becomes grey.
LUMA = (0.299, 0.587, 0.114)


def completed(one: KeptFace, given: Given, parts: list[str]) -> KeptFace:
    """The face with its image tower named; what is missing is added to the parts.

    Raises:
        InvalidInput: a place is stated, which it does not keep.
    """
    if one.control or one.pose:
        raise InvalidInput(
            f"face: {given.file} is PuLID's, which keeps no place: leave control and pose out, or state an adapter of "
            "InstantID"
        )
    tower = _tower(given.config, one.tower)
    if tower is None:
        wanted = one.tower or TOWER
        parts.append(
            f"the image tower that sees the face ({wanted}) in the folder clip_vision of your models "
            f"({library.home('clip-vision')}) or stated as tower"
        )
    parts += missing(_spoken(given.config, tower), one.recogniser)
    return one.model_copy(update={"place": 0.0, "tower": one.tower or ("" if tower is None else tower.stem)})


def _tower(config: IPAdapterConfig, given: str) -> Path | None:
    try:
        return towers.tower_of("states", config.seen, given, "")
    except DanqingError:
        return None


def _spoken(config: IPAdapterConfig, tower: Path | None) -> IPAdapterConfig:
    """The shape as it asks the recogniser alone: what the tower's summary does not fill is the recogniser's."""
    if tower is None:
        return replace(config, kind="plus", face=512)
    header = store.header(tower)
    summary = registry.find(header, "eva-vision").config(header).projection_dim
    return replace(config, kind="plus", face=config.face - summary)


@torch.inference_mode()
def read(net: IPAdapter, one: KeptFace, adapter: str, warn: Warn) -> Read:
    """What is read of a face.

    Args:
        adapter: its name, for messages.

    Raises:
        InvalidFile: what reads faces is not there, or a picture cannot be read. InvalidInput: no face in a picture.
    """
    tower = towers.tower_of("states", net.config.seen, one.tower, adapter)
    spoken = _spoken(net.config, tower)
    file = require(spoken, one.recogniser, adapter)
    image = pictures.over_white(pictures.picture(one.image))
    face = chosen(image, one.number, warn)
    bare = shown(np.asarray(image), face)
    numbers = torch.cat([seen(image, face, file, spoken.face).numbers, towers.says(tower, "summary", bare)], 1)
    tokens = net(paired(towers.says(tower, "states", bare)), paired(numbers))
    return Read(tokens, face.landmarks, image.size, files([file, tower]))


def shown(picture: Levels, face: Face) -> Image.Image:
    """A face of (H, W, 3) as the tower sees it: upright in 512 px, grey, on white."""
    matrix = umeyama(np.asarray(face.landmarks, float), template(SIDE))
    upright = cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderValue=BEYOND)
    grey = np.rint(upright @ np.array(LUMA))[..., None].repeat(3, 2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    outline = _outline(applied(matrix, analysis.shipped().points(picture, face)))
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1)
    return Image.fromarray(np.where(mask[..., None] > 0, grey, 255).astype(np.uint8))


def _outline(points: Array) -> Array:
    """All points of a face (68, 2), and those of its brow."""
    brows = points[BROWS]
    return np.concatenate([points, brows + BROW * (brows.mean(0) - points[CHIN])])


def branch(name: str, keys: Tensor, values: Tensor, layer: CrossAttention, one: KeptFace, kind: str) -> Apart:
    """What an attention is put on."""
    faithful = one.mode == "fidelity"
    empty = EMPTY[kind, faithful] if one.empty is None else one.empty
    return Apart(name, keys, values, layer, empty=empty, faithful=faithful)


PULID = Way(kinds=("pulid", "pulid-resampler"), completed=completed, read=read, branch=branch)
