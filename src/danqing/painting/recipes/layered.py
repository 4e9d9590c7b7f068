"""A scene painted in layers: each thing that a prompt places is painted by itself, at the model's own size, cut off its
background, and laid where it stands over the background of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def layered(recipe: Recipe) -> Recipe:
    """A recipe whose scenes are painted in layers where the request's ``scene`` is "layered"; else the recipe alone.

    The whole is painted first. What it is before is kept, and a warning says why, where its rim or that of a thing is
    not one background.
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
    seeds = ((request.seed + k) % 2**63 for k in range(len(scene)))  # two of one thing differ
    alone = [request.but(prompt=t.text, seed=seed, hires=None, **size) for t, seed in zip(scene, seeds, strict=True)]
    painted, done = list[Picture](), 0
    for n, one in enumerate((request, *alone)):
        left, last = (len(alone) - n) * request.sampling.steps, 0
        for state in recipe.run(painter, one):
            if isinstance(state, Picture):
                painted.append(state)
            else:
                yield replace(state, step=done + state.step, steps=done + state.steps + left)
                last = state.steps
        done += last
    whole, *layers = painted
    frame, why = laid(whole.image, [layer.image for layer in layers], scene)
    yield replace(whole, frames=(frame,), warnings=(*whole.warnings, *why))


def laid(
    whole: Image.Image, layers: Sequence[Image.Image], scene: Sequence[Thing]
) -> tuple[Image.Image, tuple[str, ...]]:
    """Each layer's thing cut out and laid over the background of the whole, in the scene's order; the whole itself, and
    why, where a background is not plain.

    Args:
        whole: RGB, of any size.
        layers: RGB, one a thing: it becomes a square as large as the thing, of the whole's shorter side, about its
            centre.
    """
    cut = CutOut()
    ground, share = fitted(np.asarray(whole, np.float32) / 255, cut.tolerance)
    if share < ENOUGH:
        return whole, (
            f"the things were painted together: {share:.0%} of the picture's border is one background, and "
            f"{ENOUGH:.0%} should be",
        )
    canvas = Image.fromarray(np.rint(ground.clip(0, 1) * 255).astype(np.uint8)).convert("RGBA")
    for layer, thing in zip(layers, scene, strict=True):
        alone, why = cut.with_warnings(layer)
        if why:
            return whole, (f"the things were painted together: of {thing.text!r} {why[0]}",)
        side = round(thing.scale * min(whole.size))
        left, top = (round(at * full - side / 2) for at, full in zip((thing.x, thing.y), whole.size, strict=True))
        canvas.alpha_composite(alone.resize((side, side), Image.Resampling.LANCZOS), (max(0, left), max(0, top)))
    return canvas.convert("RGB"), ()
