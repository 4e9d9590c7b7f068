"""Which of the steps a request takes: a picture that is painted over another begins late."""

from __future__ import annotations

from ..request.request import Resolved
from ..solve.core import Point


def part(steps: int, strength: float) -> int:
    """How many of so many steps a strength takes, the last ones: round(strength · N), at least one unless the strength
    is 0."""
    return min(steps, max(round(strength * steps), 1 if strength else 0))


def taken(request: Resolved) -> tuple[int, int]:
    """How many steps a request takes, and of how many."""
    steps = request.sampling.steps
    return steps if request.recipe == "text2image" else part(steps, request.edit.strength), steps


def later(points: tuple[Point, ...], request: Resolved) -> tuple[Point, ...]:
    """The points of the steps that are taken, the last ones."""
    kept, steps = taken(request)
    return points[steps - kept :]


def window(request: Resolved, start: float, end: float) -> tuple[int, int, int]:
    """Of the steps that are taken the first within two parts of them, 0 <= start <= end <= 1, the first after, and how
    many there are."""
    steps = taken(request)[0]
    return round(start * steps), round(end * steps), steps
