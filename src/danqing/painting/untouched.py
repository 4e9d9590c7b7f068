"""A given picture as it is: the model "none", whose pictures the finishes of a request change and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import torch
from PIL import Image

from ..errors import InvalidInput
from ..pictures import read
from ..pictures.picture import Picture
from ..request.request import Request, Resolved
from ..store.model import Model
from ..types import State
from . import finishing
from .loaded import LoadedModel, Recipe, Sibling, from_picture

#: What stands for no model.
NONE = "none"
NOTHING = Model(folder=Path(), name=NONE, components={}, source=NONE)


@torch.inference_mode()
def as_it_is(loaded: Untouched, request: Resolved) -> Iterator[State | Picture]:
    """The given picture: its size, its mode and its ICC profile."""
    image, notes = read.whole(request.image)
    yield loaded.finish(request, [image], notes)


class Untouched(LoadedModel):
    """What gives a picture as it is.

    Args:
        device, dtype, engine: of the networks that finish it.
    """

    recipes = MappingProxyType({"finish": Recipe(run=as_it_is)})

    def __init__(self, *, device: torch.device, dtype: torch.dtype, engine: str, sibling: Sibling):
        super().__init__(model=NOTHING, device=device, dtype=dtype, engine=engine, sibling=sibling)

    def preview(self, state: State) -> Image.Image:
        return self.image(state.x0)

    def resolve(self, request: Request) -> Resolved:
        """The finishes and their precision; a size is the picture's own, and none is filled in.

        Raises:
            InvalidInput: another recipe, or no picture.
        """
        if request.recipe != "finish":
            raise InvalidInput(
                f"recipe: {request.recipe} was given with the model none, which paints nothing: name a model"
            )
        from_picture(request)
        return finishing.settle(request.resolve({}, ("finish",), self.computed))

    @property
    def sha256(self) -> str:
        return ""
