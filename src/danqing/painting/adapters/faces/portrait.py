"""Portraits: drawn people, told apart by what the judge sees of the whole picture, for a model that drafts from the
text's summary. No face is looked for, since what finds faces knows photographs; and there is no network of the place.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .... import installed
from ....errors import InvalidFile, InvalidInput
from ....nets.image_projections import Portrait
from ....nets.ip_adapter import IPAdapter
from ....pictures import read as pictures
from ....request.kept_face import KeptFace
from ....vision import tower
from .. import towers
from ..attachment import Warn
from .instantid import branch
from .way import Given, Read, Way

#: What a face may state that portraits have no use for.
UNUSED = ("control", "pose", "recogniser", "tower", "number", "mode", "empty")


def completed(one: KeptFace, given: Given, parts: list[str]) -> KeptFace:
    """The face without a place; what is missing is added to the parts.

    Raises:
        InvalidInput: something is stated that portraits have no use for.
    """
    if stated := [name for name in UNUSED if getattr(one, name) != KeptFace.model_fields[name].default]:
        raise InvalidInput(
            f"face: {given.file} reads the whole picture as a portrait of one person: leave {', '.join(stated)} out"
        )
    if not installed.path(tower.FOLDER, tower.JUDGE):
        parts.append(f"the network that sees the portrait: {installed.missing(tower.FOLDER)}")
    return one.model_copy(update={"place": 0.0})


@torch.inference_mode()
def read(net: IPAdapter, one: KeptFace, adapter: str, warn: Warn) -> Read:
    """What is read of a portrait: nothing is said of no one, and everything adds to nothing there.

    Args:
        adapter: its name, for messages.

    Raises:
        InvalidFile: what sees the portrait is not there or says something else, or the picture cannot be read.
    """
    path, projection = installed.require(tower.FOLDER, tower.JUDGE), net.image_proj
    assert isinstance(projection, Portrait)
    image = pictures.over_white(pictures.picture(one.image))
    person = projection.person(*looked(path, image, projection, adapter))
    tokens = net(None, person)
    none = torch.zeros_like(tokens)
    told = partial(added, projection, person)
    return Read(torch.cat([none, tokens]), np.zeros((5, 2)), image.size, (path,), told, projection.redrawn)


@torch.inference_mode()
def added(projection: Portrait, person: Tensor, summary: Tensor) -> Tensor:
    """What a person (1, F) adds to a text's summaries (B, P)."""
    return projection.added(person.expand(len(summary), -1), summary)


def looked(path: Path, image: Image.Image, projection: Portrait, adapter: str) -> tuple[Tensor, Tensor]:
    """What the judge sees of a picture, on white where it is no square: (1, G) and (1, T).

    Raises:
        InvalidFile: not as many numbers as the adapter reads.
    """
    square = torch.from_numpy(np.array(towers.on_white(image))).movedim(-1, 0)[None]
    grid, texture = tower.features(tower.recogniser(path)[0], square)
    there, wanted = (grid[0].numel(), texture.shape[1]), (projection.config.seen, projection.config.texture)
    if there != wanted:
        raise InvalidFile(
            f"{path} says {there[0]} and {there[1]} numbers of a picture, and {adapter} reads {wanted[0]} and "
            f"{wanted[1]}: install danqing-mini and danqing-families of one version"
        )
    return grid.flatten(1), texture


PORTRAIT = Way(kinds=("portrait",), completed=completed, read=read, branch=branch)
