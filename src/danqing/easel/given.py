"""A given picture as it is: the model "none", whose pictures the finishes of a request change and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image

from ..errors import InvalidInput
from ..run.device import find_device
from ..run.precision import find_precision
from ..types import State
from . import files, finishing, zoo
from .base import Easel, Recipe
from .picture import Picture
from .request import Request, settled

#: What stands for no model.
NONE = "none"
NOTHING = zoo.Model(folder=Path(), name=NONE, components={}, source=NONE)


@torch.inference_mode()
def as_it_is(easel: Given, request: Request) -> Iterator[State | Picture]:
    """The given picture: its size, its mode and its ICC profile."""
    image, notes = files.whole(settled(request.image))
    yield easel.finish(request, image, notes)


class Given(Easel):
    """What gives a picture as it is.

    Args:
        device, precision: of the networks that finish it; the best of the machine where not given.
    """

    recipes: ClassVar[Mapping[str, Recipe]] = {"finish": as_it_is}

    def __init__(self, device: str | None = None, precision: str | None = None):
        where = find_device(device)
        super().__init__(model=NOTHING, device=where, dtype=find_precision(where, precision))

    def again(self, precision: str | None) -> Given:
        return Given(str(self.device), precision)

    def glimpse(self, state: State) -> Image.Image:
        return self.image(state.x0)

    def uses(self, request: Request) -> Collection[str]:
        return ()

    def resolve(self, request: Request) -> Request:
        """The finishes and their precision; a size is the picture's own, and none is filled in.

        Raises:
            InvalidInput: another recipe, or no picture.
        """
        if request.recipe != "finish":
            raise InvalidInput(
                f"recipe: {request.recipe} was given with the model none, which paints nothing: name a model"
            )
        resolved = request.resolve(used=("finish",))
        return finishing.settle(resolved.but(precision=resolved.precision or self.precision))

    @property
    def sha256(self) -> str:
        return ""
