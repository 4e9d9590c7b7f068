"""A second model that takes the last steps, such as SDXL's refiner."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...errors import InvalidInput
from ...request.request import Resolved
from ...solve.core import Point
from ...store.shipped import DEFAULT
from ...types import Denoise, Denoised
from ..painter import Painter
from ..say import Beside
from .tasks import beside as read_beside


def refined(
    painter: Painter, request: Resolved, points: Sequence[Point], beside: Beside, walked: Sequence[Point] = ()
) -> Denoise:
    """The painter's guided estimate, handed over to the refiner's for the last steps, where the request names one.

    Both see the same noise levels, so the hand-over is a choice by time (Podell et al. 2023, section 2.5).

    Args:
        points: of the request's steps, by whose times prompts change and the refiner takes over.
        walked: those that a solver goes between, where they are others.

    Raises:
        InvalidInput: the refiner does not denoise, or paints in other latents or on another schedule.
    """
    early = painter.assemble(request, points, beside, walked=walked)
    if not request.refiner.model:
        return early
    other = _fitting(painter, request)
    late = other.assemble(request, points, read_beside(other, request), walked=walked)
    steps = len(points) - 1
    first = points[min(round(request.refiner.at * steps), steps)].t  # where the refiner begins

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        return early(x, t) if float(t[0]) > first else late(x, t)

    return denoise


def _fitting(painter: Painter, request: Resolved) -> Painter:
    """The refiner that a request names, which sees as much of a picture at once as the painter. Where that is the same
    model, it is the painter, with what is attached to it."""
    other = painter.sibling(request.refiner.model, request.computed)
    if not isinstance(other, Painter):
        raise InvalidInput(
            f"{other.model.name} paints without denoising; possible here is a model that denoises, such as {DEFAULT}"
        )
    if other.denoiser is painter.denoiser:
        return painter
    other = other.alone().seeing(request)
    fits = other.codec.channels == painter.codec.channels and other.denoiser.schedule == painter.denoiser.schedule
    if not fits or other.learned(request) != painter.learned(request):
        possible = f"a model with the latents and the schedule of {painter.model.name}"
        raise InvalidInput(f"refiner: {request.refiner.model} was given; possible is {possible}")
    return other
