"""A scene painted in layers: each thing that a prompt places is painted by itself, at the model's own size, cut off its
background, and laid where it stands over the background of the whole."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ...finish.cut import ENOUGH, CutOut, fitted
from ...pictures.picture import Picture
from ...prompt.grammar import parse, plan
from ...prompt.placed import plain
from ...prompt.scenes import Thing, things, unbacked
from ...request.request import DEFAULTS, Resolved
from ...types import State
from ..loaded import Recipe
from ..painter import Painter

#: What places things by itself, or has them hang together over more than one picture.
ELSEWISE = ("controls", "image_prompts", "faces", "references", "regions", "panorama")

CUT = CutOut()


def layered(recipe: Recipe) -> Recipe:
    """A recipe whose scenes are painted in layers where the request's ``scene`` is "layered"; else the recipe alone.

    The whole is painted first. It stays as it is, and a warning says why, where its rim or that of a thing is not one
    background; then no further thing is painted.
    """

    def run(painter: Painter, request: Resolved) -> Iterator[State | Picture]:
        scene = scene_of(request)
        return _run(recipe, painter, request, scene) if scene else recipe.run(painter, request)

    return replace(recipe, run=run, uses={*recipe.uses, "scene"})


def scene_of(request: Resolved) -> tuple[Thing, ...]:
    """What a request has painted in layers, without what its text says of the background; nothing where its prompt
    changes over the steps, or joins several by AND."""
    stated = request.stated()
    if request.composition.scene != "layered" or request.frames > 1 or any(stated.get(name) for name in ELSEWISE):
        return ()
    terms = [term for run in plan(parse(request.prompt), request.sampling.steps).runs for term in run.terms]
    found = things(plain(terms[0].text)) if len(terms) == 1 else ()
    return tuple(thing._replace(text=unbacked(thing.text)) for thing in found)


def _run(recipe: Recipe, painter: Painter, request: Resolved, scene: Sequence[Thing]) -> Iterator[State | Picture]:
    size = {side: painter.defaults.get(side, DEFAULTS[side]) for side in ("width", "height")}
    done, left = 0, len(scene) * request.sampling.steps

    def painted(one: Resolved) -> Generator[State, None, Picture]:
        nonlocal done
        picture, last = None, 0
        for state in recipe.run(painter, one):
            if isinstance(state, Picture):
                picture = state
            else:
                yield replace(state, step=done + state.step, steps=done + state.steps + left)
                last = state.steps
        assert picture is not None
        done += last
        return picture

    whole = yield from painted(request)
    canvas, why = background(whole.image)
    for k, thing in enumerate(scene):
        if why:
            break
        left -= request.sampling.steps
        own = request.but(prompt=thing.text, seed=(request.seed + k) % 2**63, hires=None, **size)  # two of one differ
        layer = yield from painted(own)
        why = lay(canvas, layer.image, thing)
    if why:
        yield replace(whole, warnings=(*whole.warnings, why))
    else:
        yield replace(whole, frames=(canvas.convert("RGB"),))


def background(whole: Image.Image) -> tuple[Image.Image, str]:
    """The background of a picture, RGBA; and why things are not laid over it, where it is not plain."""
    ground, share = fitted(np.asarray(whole, np.float32) / 255, CUT.tolerance)
    why = (
        f"the things were painted together: {share:.0%} of the picture's border is one background, and {ENOUGH:.0%} "
        "should be"
    )
    canvas = Image.fromarray(np.rint(ground.clip(0, 1) * 255).astype(np.uint8)).convert("RGBA")
    return canvas, why if share < ENOUGH else ""


def lay(canvas: Image.Image, layer: Image.Image, thing: Thing) -> str:
    """Cut a thing out of its picture, and lay it over a canvas, RGBA; why not, where its background is not plain.

    The picture becomes a square as large as the thing, of the canvas's shorter side, about its centre.
    """
    alone, why = CUT.with_warnings(layer)
    if why:
        return f"the things were painted together: of {thing.text!r} {why[0]}"
    side = round(thing.scale * min(canvas.size))
    left, top = (max(0, round(at * full - side / 2)) for at, full in zip((thing.x, thing.y), canvas.size, strict=True))
    canvas.alpha_composite(alone.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return ""
