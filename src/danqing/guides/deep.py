"""Of the steps of a walk every so-manieth asks the whole network, and the others its outermost layers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..errors import InvalidInput
from ..solve.core import Point, step_of
from ..types import Denoise, Denoised


def deep(
    whole: Denoise, outer: Denoise, points: Sequence[Point], every: int, begin: Callable[[], object] = lambda: None
) -> Denoise:
    """``whole`` in the first of the steps that are asked for and in every ``every``-th after it, ``outer`` in between.

    Steps that nobody asks for, because they are forecast, do not count; a look within a step goes with the step. A
    time above that of the look before begins a walk anew. every 1 is ``whole`` itself.

    Args:
        whole: which keeps what the deep layers say.
        outer: which takes it as it was kept.
        points: that the solver goes between.
        begin: called before a walk.

    Raises:
        InvalidInput: every below 1.
    """
    if every < 1:
        raise InvalidInput(f"deep: every {every} was given; possible are from 1")
    before = float("-inf")
    steps: list[int] = []  # the latest computed wholly, and those since

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        nonlocal before
        now = float(t[0])
        step = step_of(points, now)
        if now > before:
            begin()
            steps.clear()
        before = now
        if step not in steps:
            steps[:] = [*steps, step] if 0 < len(steps) < every else [step]
        return (whole if step == steps[0] else outer)(x, t)

    return denoise if every > 1 else whole
