"""Recipes: from a resolved Request to a Picture, yielding each step on the way. Each is text2image with one thing
changed.

`danqing.request.names.RECIPES` is the one table of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from PIL import Image, ImageChops
from torch import Tensor

from ...errors import InvalidInput
from ...pictures import read
from ...pictures.picture import Picture
from ...request.request import FIELDS, Request, Resolved
from ...types import Denoise, State
from .. import finishing
from ..loaded import Recipe, Size, from_nothing, from_picture, of_picture
from ..painter import Painter
from ..say import Beside
from ..steps import later, taken
from .fill import filled, idle
from .hires import once, size_of, twice
from .layered import layered
from .masks import cells, edged, grown
from .parts import Canvas, by_parts, in_parts
from .refiner import refined
from .tasks import beside


@torch.inference_mode()
def text2image(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
    """From noise alone: x_1 = alpha_1 · 0 + sigma_1 eps, walked to clean."""
    points = painter.points(request)
    x0 = painter.blank(request)
    for state in painter.walk(request, points, x0, refined(painter, request, points, beside(painter, request))):
        yield state
        x0 = state.x
    yield painter.finish(request, painter.decode(x0))


@torch.inference_mode()
def image2image(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
    """From a picture noised to a later time: the last ``strength`` of the steps (Meng et al. 2021). None of them is the
    picture."""
    source = read.picture(request.image)
    image = fitted(read.over_white(source), request)
    points = later(painter.points(request), request)
    x, task = painter.encode_image(image), beside(painter, request, image)
    for state in painter.walk(request, points, origin(x, task, request), refined(painter, request, points, task)):
        yield state
        x = state.x
    notes = () if source.mode == "RGB" else ("what is transparent in the picture was taken for white.",)
    frames = painter.decode(x) if len(points) > 1 else [image] * request.frames
    size = size_of(painter, request)
    scale = math.prod(getattr(finishing.make(record, painter, request), "scale", 1) for record in request.finish)
    changed = resized(source.size, request, (round(size[0] * scale), round(size[1] * scale)), painter.multiple * scale)
    yield painter.finish(request, frames, (*notes, *changed))


def inpaint(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
    """A part of a picture: where the mask is white, or where the picture is transparent."""
    source = read.picture(request.image)
    mask = edged(read.mask(request.edit.mask, source), request)
    return within(painter, request, Canvas(source, mask, bool(request.edit.mask)))


def outpaint(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
    """What lies around a picture, on a canvas that is larger by ``extend``; before it is painted, its edge goes on
    there."""
    source, mask = grown(read.picture(request.image), request.edit.extend)
    return within(painter, request, Canvas(source, edged(mask, request), True))


@in_parts
@torch.inference_mode()
def within(painter: Painter, request: Resolved, canvas: Canvas) -> Iterator[State | Picture]:
    """image2image whose estimate is the given picture wherever the mask is black, then laid over that picture by the
    mask.

    D'(x, t) = m D(x, t) + (1 - m) x_0 holds the known part to the path x_t = alpha_t x_0 + sigma_t eps for every
    solver, as noising it anew in each step does. The last blend is in bytes, so that mask 0 leaves every byte as it
    was.
    """
    source, mask, known = canvas.source, canvas.mask, read.over_white(canvas.source)
    points = later(painter.points(request), request)
    image = fitted(known, request)
    x = painter.encode_image(image)
    free = cells(mask.resize((request.width, request.height), Image.Resampling.BOX), painter.codec.factor).to(x)
    task = beside(painter, request, image, free)
    estimate = hold(free, x)(refined(painter, request, points, task))
    start = filled(painter, request, canvas.stage, image, x, free)
    for state in painter.walk(request, points, origin(start, task, request), estimate, stage=canvas.stage):
        yield state
        x = state.x

    def laid(frame: Image.Image) -> Image.Image:
        painted = frame.resize(known.size, Image.Resampling.LANCZOS)
        if source.mode != "RGBA" or not canvas.clear:
            return Image.composite(painted, known, mask)
        result = Image.composite(painted, source.convert("RGB"), mask)
        result.putalpha(ImageChops.lighter(source.getchannel("A"), mask))
        return result

    frames = painter.decode(x) if len(points) > 1 else [known] * request.frames
    yield painter.finish(request, map(laid, frames))


def in_tiles(recipe: Recipe) -> Recipe:
    """A recipe whose painter sees no more than a tile at once, or the whole where the request says nothing of tiles."""
    return replace(recipe, run=lambda painter, request: recipe.run(painter.seeing(request), request))


def unmasked(painter: Painter, request: Resolved) -> Iterator[str]:
    """What a request says of a mask in a recipe that has none."""
    if request.edit.blur:
        yield f"mask_blur {request.edit.blur} was ignored: {request.recipe} has no mask."


def of_grown(request: Request) -> Size | None:
    """The size of a picture with what is painted around it."""
    width, height = of_picture(request) or (0, 0)
    left, top, right, bottom = request.edit.extend
    return left + width + right, top + height + bottom


def masked(size: Callable[[Request], Size | None]) -> Callable[[Painter, Resolved], Iterator[str]]:
    """What is to be said of a picture that is painted by a mask; ``size`` gives its own size."""

    def notes(painter: Painter, request: Resolved) -> Iterator[str]:
        yield from idle(painter, request)
        if not request.edit.only_masked and (given := size(request)):
            yield from resized(given, request, (request.width, request.height), painter.multiple)

    return notes


def without_mask(request: Request) -> None:
    """The inputs of a recipe that repaints a picture as a whole.

    Raises:
        InvalidInput: no picture is given, or a mask.
    """
    from_picture(request)
    if request.edit.mask:
        raise InvalidInput("image2image repaints the whole picture, but a mask was given: use the recipe inpaint")


def growing(request: Request) -> None:
    """The inputs of a recipe that paints around a picture.

    Raises:
        InvalidInput: no picture is given, or nothing to grow by.
    """
    from_picture(request)
    if not any(request.edit.extend):
        raise InvalidInput(
            "outpaint grows a picture, and no side to grow was given: state extend, (0, 0, 64, 0) for 64 to the right"
        )


def keeping(own: Mapping[str, Any]) -> Mapping[str, Any]:
    """The defaults of a recipe whose picture keeps the given one around what is painted: that is painted wholly anew,
    and a model's own finishing is no default."""
    return {"strength": 1.0, **own, "finish": ()}


#: The fields of a request that denoising uses: all but those of models that paint without it.
USED = FIELDS.keys() - {"truncation", "mix", "mix_from", "other", "between", "to", "scene"}
#: Those of them that say how a mask is painted in.
MASKED = {"extend", "mask_grow", "only_masked", "padding", "fill"}
TEXT2IMAGE = in_tiles(
    layered(
        twice(
            Recipe(
                run=text2image,
                uses=USED - MASKED - {"strength"},
                inputs=from_nothing,
                notes=unmasked,
                does="Paints from nothing but words.",
            )
        )
    )
)
IMAGE2IMAGE = in_tiles(
    twice(
        Recipe(
            run=image2image,
            uses=USED - MASKED,
            inputs=without_mask,
            notes=unmasked,
            does="Paints over a picture.",
        )
    )
)
INPAINT = in_tiles(
    once(
        by_parts(
            Recipe(
                run=inpaint,
                uses=USED - {"extend"},
                defaults=keeping,
                notes=masked(of_picture),
                does="Paints a part of a picture, by a mask.",
            )
        )
    )
)
OUTPAINT = in_tiles(
    once(
        by_parts(
            Recipe(
                run=outpaint,
                uses=USED - {"mask"},
                inputs=growing,
                size=of_grown,
                defaults=keeping,
                notes=masked(of_grown),
                does="Paints what lies around a picture.",
            )
        )
    )
)


def origin(x0: Tensor, task: Beside, request: Resolved) -> Tensor:
    """What is noised: the picture, or nothing where all steps are taken by a denoiser that reads the picture beside the
    noise."""
    kept, steps = taken(request)
    return torch.zeros_like(x0) if task.shown is not None and kept == steps else x0


def hold(free: Tensor, x0: Tensor) -> Callable[[Denoise], Denoise]:
    """A wrapper: every estimate is ``x0`` where ``free`` is 0; free (1, 1, h, w), x0 (1, C, h, w)."""
    return lambda denoise: lambda x, t: denoise(x, t).map(lambda estimate: torch.where(free > 0, estimate, x0))


def fitted(image: Image.Image, request: Resolved) -> Image.Image:
    """The picture at the size that is painted in."""
    size = (request.width, request.height)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def resized(given: Size, request: Resolved, now: Size, multiple: float) -> Iterator[str]:
    """That a picture is another size now than was given, where it differs by more than what sizes are multiples of."""
    if any(abs(a - b) >= multiple for a, b in zip(given, now, strict=True)):
        was, painted = (f"{width}×{height}" for width, height in (given, (request.width, request.height)))
        yield f"the picture of {was} was painted at {painted}; width and height state another size."
