"""What is said in which step of a picture, and where: its prompts, made into scenes that a guided estimate is composed
of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..guides.regional import Drawn, Rectangle, Shares, weighed
from ..pictures import read
from ..prompt.grammar import parse, plan
from ..request.request import Resolved
from ..solve.core import Point, step_of
from ..types import Conditioning, Denoise, Denoised
from .adapters.attachment import Attached
from .styles import NONE, Styles

#: How far, in parts of itself, the ratio of a mask may be from the picture's.
ASKEW = 0.02


class Scene(NamedTuple):
    """What is said in some steps: terms with their weights, and what guidance counts from."""

    terms: tuple[tuple[Conditioning, float], ...]
    base: Conditioning

    @property
    def conditionings(self) -> tuple[Conditioning, ...]:
        """All that is said in it."""
        return (*(cond for cond, _ in self.terms), self.base)


class EncodedPrompts(NamedTuple):
    """The prompts of a picture: the different scenes, which of them each step shows, and what is to be said of them."""

    scenes: tuple[Scene, ...]
    steps: tuple[int, ...]
    warnings: tuple[str, ...]


def encode_prompts(
    attached: Attached, prompt: str, negative: str, steps: int, emphasis: str, skip: int
) -> EncodedPrompts:
    """The prompts over so many steps; ``skip`` is `Request.clip_skip`."""
    plans = plan(parse(prompt), steps), plan(parse(negative, compose=False), steps)
    positive, negative_text = attached.text.condition(plans, skip=skip - 1, weighting=emphasis, applied=attached.tags)
    scenes: dict[tuple[int, ...], tuple[int, Scene]] = {}  # by the identity of what is said: a text is encoded once
    order = []
    for step in range(1, steps + 1):
        scene = Scene(positive.at(step), negative_text.at(step)[0][0])
        order.append(scenes.setdefault(tuple(map(id, scene.conditionings)), (len(scenes), scene))[0])
    return EncodedPrompts(
        tuple(scene for _, scene in scenes.values()), tuple(order), (*positive.warnings, *negative_text.warnings)
    )


class Placed(NamedTuple):
    """A region of a picture: how much it counts in each cell, the request that it alone is, and whether the model sees
    no more than its box."""

    shares: Shares
    request: Resolved
    alone: bool


def placed(request: Resolved, styles: Styles) -> Iterator[Placed]:
    """The regions of a request. Where one names no style, it is given that of the picture."""
    named = next((name for name, words in styles.words.items() if words.within(request.prompt)), NONE)
    for region, (prompt, negative) in zip(request.regions, request.texts[1:], strict=True):
        if region.box is not None:
            shares: Shares = Rectangle(region.box, region.soft)
        else:
            mask = read.shades(region.mask, (request.width, request.height))
            shares = Drawn(torch.from_numpy(np.asarray(mask, np.float32) / 255))
        style = styles.added_to(prompt, request.style if request.style != NONE else named)
        own = request.but(prompt=prompt, negative=negative, style=style, regions=())
        yield Placed(weighed(shares, region.weight), own, region.view == "box")


def astray(request: Resolved) -> Iterator[str]:
    """What is to be said of a request's regions, a sentence each."""
    for i, region in enumerate(request.regions, 1):
        if not region.weight:
            yield f"region {i} changes nothing: its weight is 0."
        if region.mask:
            width, height = read.picture(region.mask).size
            if abs(width * request.height / (height * request.width) - 1) > ASKEW:
                size = f"{request.width}×{request.height}"
                yield f"the mask of {width}×{height} of region {i} was stretched over the picture of {size}."


def by_time(guided: Sequence[Denoise], steps: Sequence[int], points: Sequence[Point]) -> Denoise:
    """The estimate of each time: that of the scene which the step from there shows.

    Args:
        guided: of each scene.
        steps: which scene each step shows.
        points: the N + 1 that these steps go between.
    """
    if len(guided) == 1:
        return guided[0]

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        return guided[steps[step_of(points, float(t[0]))]](x, t)

    return denoise
