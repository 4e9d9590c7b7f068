"""Forecast estimates: of the steps of a walk some are computed, and the others forecast from those before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ..errors import InvalidInput
from ..solve.core import Point, blend, step_of
from ..types import Denoise, Denoised, merge


def forecast(estimate: Denoise, points: Sequence[Point], every: int = 1, order: int = 1) -> Denoise:
    """x_0(t) = sum_i l_i(t) x_0(t_i), l_i(t) = prod_{j != i} (t - t_j) / (t_i - t_j), in the steps that are not
    computed: the polynomial of degree ``order`` through the last ``order`` + 1 computed estimates, of fewer where there
    are no more.

    Computed are the first step, the last, and every ``every``-th; order 0 repeats the latest estimate. It knows neither
    network nor solver: a look within a step goes with the step, and counts as computed only for later times.
    What guidance composed is forecast alike; the variance is the latest's, for it would leave its bounds. every 1 is
    ``estimate`` itself. After Liu et al. 2025, TaylorSeer, which forecasts the features within a network by differences
    of equal steps.

    Args:
        points: that the solver goes between.

    Raises:
        InvalidInput: every below 1, or an order below 0.
    """
    if every < 1 or order < 0:
        raise InvalidInput(f"forecast: every {every}, order {order} was given; possible are from 1, and from 0")
    last = len(points) - 2
    known: list[tuple[float, Denoised]] = []  # of falling times

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        now = float(t[0])
        step = step_of(points, now)
        earlier = [one for one in known if one[0] > now][-(order + 1) :]
        if not earlier or step % every == 0 or step == last:
            found = estimate(x, t)
            known[:] = [*earlier, (now, found)]
            return found
        times, found = zip(*earlier, strict=True)
        told = merge(partial(_weighed, _weights(times, now)), *found)
        return told._replace(variance=found[-1].variance)

    return denoise if every > 1 else estimate


def _weights(times: Sequence[float], now: float) -> list[float]:
    """l_i(now) of Lagrange's polynomials through the times."""
    return [math.prod((now - b) / (a - b) for b in times if b != a) for a in times]


def _weighed(weights: Sequence[float], *values: Tensor) -> Tensor:
    return blend(*zip(weights, values, strict=True))
