"""A recipe: text2image, whose picture is then its own mirror image."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from PIL import Image, ImageOps
from pydantic import Field

from danqing.painting.loaded import Recipe, from_nothing
from danqing.painting.painter import Painter
from danqing.painting.recipes.denoising import TEXT2IMAGE
from danqing.pictures.picture import Picture
from danqing.request.groups import Group
from danqing.request.request import Resolved
from danqing.types import State


class Mirror(Group, frozen=True):
    """Where a picture is mirrored."""

    side: Literal["left", "right"] = Field(default="left", description="The half that is kept.")


def run(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
    """The steps of text2image, then its picture with one half in place of the other."""

    def mirrored(frame: Image.Image) -> Image.Image:
        half = frame.width // 2
        kept = frame if request.group("mirror").side == "left" else ImageOps.mirror(frame)
        whole = kept.copy()
        whole.paste(ImageOps.mirror(kept.crop((0, 0, half, kept.height))), (kept.width - half, 0))
        return whole

    for state in TEXT2IMAGE.run(painter, request):
        if isinstance(state, Picture):
            state = replace(state, frames=tuple(map(mirrored, state.frames)))
        yield state


RECIPE = Recipe(
    run=run,
    uses={*TEXT2IMAGE.uses, "mirror_side"},
    inputs=from_nothing,
    check=TEXT2IMAGE.check,
    notes=TEXT2IMAGE.notes,
    does="Paints from words, and mirrors the picture.",
)
