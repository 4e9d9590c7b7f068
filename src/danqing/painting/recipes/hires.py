"""A picture painted twice: small, where a model composes well, then larger over the first one enlarged (A1111's "hires
fix")."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...errors import InvalidInput, UnknownName
from ...finish.records import finishing as record
from ...pictures import read
from ...pictures.picture import Picture
from ...request.request import DEFAULTS, Resolved
from ...solve.core import Point
from ...store import library
from ...types import State
from .. import finishing
from ..loaded import Recipe, Run, Size
from ..painter import Painter
from ..steps import later, part
from .refiner import refined
from .tasks import beside

#: (painter, the first picture, its latent (1, C, h, w), (width, height)) -> the latent to paint over, (1, C, height/f,
#: width/f).
Enlarging = Callable[[Painter, Image.Image, Tensor, Size], Tensor]
#: The fields that say how the second pass is done.
HOW = ("hires_steps", "hires_strength", "hires_by")


def twice(recipe: Recipe) -> Recipe:
    """A recipe, whose picture is then enlarged, noised to ``hires_strength`` and painted anew at that size; at hires 1
    the recipe alone.

    The second pass draws noise of its own. At each time it takes the prompts that the first one took then, so a prompt
    that changes over the steps has changed.
    """

    def run(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
        return _twice(recipe.run, painter, request) if request.hires.factor > 1 else recipe.run(painter, request)

    return _with(replace(recipe, run=run), check)


def once(recipe: Recipe) -> Recipe:
    """A recipe that keeps a part of the picture as it is, at its size, and therefore paints no second time."""
    return _with(recipe, refuse)


def _with(recipe: Recipe, checked: Callable[[Painter, Resolved], None]) -> Recipe:
    """The recipe with a check more, and with what is to be said of a second pass."""

    def both(painter: Painter, request: Resolved) -> None:
        recipe.check(painter, request)
        checked(painter, request)

    return replace(recipe, check=both, notes=lambda p, r: (*recipe.notes(p, r), *notes(p, r)))


@torch.inference_mode()
def _twice(recipe: Run, painter: Painter, request: Resolved) -> Iterator[State | Picture]:
    size, points, enlarge = size_of(painter, request), second(painter, request), enlarging(painter, request)
    first: Picture | None = None
    latent, done = None, 0
    for state in recipe(painter, request):
        if isinstance(state, Picture):
            first = state
            continue
        latent, done = state.x, state.steps
        yield replace(state, steps=done + len(points) - 1)
    assert first is not None
    latents = [painter.encode_image(frame) for frame in first.frames] if latent is None else latent.split(1)
    x = torch.cat([enlarge(painter, *pair, size) for pair in zip(first.frames, latents, strict=True)])
    given = lanczos(read.over_white(read.picture(request.image)), size) if request.image else None
    large, prompt_points = request.but(width=size[0], height=size[1]), later(painter.points(request), request)
    estimate = refined(painter, large, prompt_points, beside(painter, large, given), points)
    for state in painter.walk(large, points, x, estimate, stage="hires "):
        yield replace(state, step=done + state.step, steps=done + state.steps)
        x = state.x
    by = request.hires.by
    hashed = {} if by in WAYS else {"hires_by": library.digest(finishing.file(by))}
    yield replace(first, frames=painter.decode(x), record={**first.record, **hashed})


def second(painter: Painter, request: Resolved) -> tuple[Point, ...]:
    """The points of the second pass."""
    steps = request.hires.steps or request.sampling.steps
    return painter.points(request.but(steps=steps))[steps - part(steps, request.hires.strength) :]


def size_of(painter: Painter, request: Resolved) -> Size:
    """Width and height of the second pass: ``hires`` times those of the first, to the nearest that the model paints."""
    m, times = painter.multiple, request.hires.factor
    width, height = (round(side * times / m) * m for side in (request.width, request.height))
    return width, height


def check(painter: Painter, request: Resolved) -> None:
    """Refuse a second pass that cannot be, before anything is painted.

    Raises:
        InvalidInput: to a size that the model does not paint; UnknownName: an enlarger that is none.
        InvalidFile: one whose file is gone or holds another network.
    """
    times = request.hires.factor
    if times == 1:
        return
    width, height = size_of(painter, request)
    try:
        painter.check_size(width, height, painter.max_pixels(request))
    except InvalidInput as error:
        raise InvalidInput(f"hires: {times:g} was given with {request.width}×{request.height}: {error}") from None
    enlarging(painter, request)


def refuse(painter: Painter, request: Resolved) -> None:
    """Refuse any second pass.

    Raises:
        InvalidInput: one is asked for.
    """
    if request.hires.factor > 1:
        kept = f"{request.recipe} keeps what it does not repaint as it is, at its size"
        raise InvalidInput(f"hires: {request.hires.factor:g} was given; {kept}: leave hires out, or use image2image")


def notes(painter: Painter, request: Resolved) -> Iterator[str]:
    """What a request says of a second pass where there is none."""
    usual, stated = {**DEFAULTS, **painter.defaults}, request.stated()
    unused = [name for name in HOW if stated.get(name, usual[name]) != usual[name]]
    if unused and request.hires.factor == 1:
        yield f"{', '.join(unused)} had no effect: hires is 1, which paints no second time."


# -------------------------------------------------------------------------------------------------------- enlarging


def latently(painter: Painter, picture: Image.Image, latent: Tensor, size: Size) -> Tensor:
    """The latent itself between its cells."""
    width, height = (side // painter.codec.factor for side in size)
    return F.interpolate(latent, (height, width), mode="bicubic")


def by_pixels(enlarge: Callable[[Image.Image, Size], Image.Image]) -> Enlarging:
    """The picture enlarged, then encoded."""
    return lambda painter, picture, latent, size: painter.encode_image(enlarge(picture, size))


def lanczos(picture: Image.Image, size: Size) -> Image.Image:
    """Between its pixels."""
    return picture.resize(size, Image.Resampling.LANCZOS)


WAYS: Mapping[str, Enlarging] = {"latent": latently, "lanczos": by_pixels(lanczos)}


def enlarging(painter: Painter, request: Resolved) -> Enlarging:
    """The way, or the network, that ``hires_by`` names.

    Raises:
        UnknownName, InvalidFile: it names neither, or a file that is no enlarger's.
    """
    by = request.hires.by
    if by in WAYS:
        return WAYS[by]
    try:
        network: Any = finishing.make(record("enlarge", model=by, precision=request.precision), painter, request)
    except UnknownName as unknown:
        raise UnknownName("hires_by", by, (*WAYS, *unknown.possible)) from None
    return by_pixels(network.to)
