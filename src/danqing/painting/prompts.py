"""What is said in which step of a picture: its prompts, made into scenes that a guided estimate is composed of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..prompt.grammar import parse, plan
from ..solve.core import Point, step_of
from ..types import Conditioning, Denoise, Denoised
from .adapters.attachment import Attached


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
