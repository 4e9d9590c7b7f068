"""CFG-Zero*: guidance counts from the base at the length that brings it nearest to the conditional estimate, and the
first steps, where an estimate is worse than none, are not taken."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..solve.core import Point, step_of
from ..types import Denoise, Denoised
from .terms import dot, part, three, weight, wide


def zero_star(guided: Denoise, points: Sequence[Point], optimised: bool = True, waits: int = 0) -> Denoise:
    """v = s v_b + w (v_c - s v_b), s = <v_c, v_b> / ‖v_b‖², of the velocities v = e - x_0; v = 0 in the first ``waits``
    steps, where those begin with more noise than signal.

    Of x_t = alpha x_0 + sigma e the velocity is (x_t - (alpha + sigma) x_0) / sigma, whatever the network says. Neither
    is ``guided`` itself. Source: Fan et al. 2025, algorithm 1.

    Args:
        points: that the solver goes between.
    """
    waits = waits if points[0].kappa > 1 else 0
    if not (optimised or waits):
        return guided
    schedule = points[0].schedule

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        alpha, sigma = (wide(level).view(-1, *[1] * (x.ndim - 1)) for level in schedule(t))
        if step_of(points, float(t[0])) < waits:
            return found._replace(x0=(x / (alpha + sigma)).to(x.dtype))
        if not optimised or (composed := three(found)) is None:
            return found
        x0, cond, base = composed
        away, towards = ((x - (alpha + sigma) * one) / sigma for one in (base, cond))
        moved = (1 - weight(x0, cond, base)) * (part(dot(towards, away), dot(away, away)) - 1) * away  # of the velocity
        return found._replace(x0=(x0 - moved * sigma / (alpha + sigma)).to(x.dtype))

    return denoise
