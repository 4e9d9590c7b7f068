"""What is measured, with the interval that it lies in: 95 % of them, over the pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...noise import keyed

#: Standard deviations to either side of a mean that hold 95 %.
Z = 1.959964
DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measure of painted pictures, and of real ones by the same judge.

    Args:
        value: percent, unless the measure says otherwise.
        low, high: the ends of its interval.
        real: the same of real art; None where there is none.
        count: of how many pictures.
    """

    value: float
    low: float
    high: float
    real: float | None = None
    count: int = 0


def share(right: Tensor, real: Tensor | None = None) -> Figure:
    """How many are right, in percent: (N,) of bool, N at least 1, of the painted ones and of real ones.

    The interval is Wilson's, (p + z²/2n ± z sqrt(p (1-p) / n + z²/4n²)) / (1 + z²/n), which stays within 0 and 1 and
    is no point at either (Wilson 1927).
    """
    n, p = len(right), float(right.double().mean())
    middle, widened = p + Z * Z / (2 * n), 1 + Z * Z / n
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    # Rounding alone would put an end beyond 0, 1 or p.
    ends = (max(0.0, min((middle - half) / widened, p)), min(1.0, max((middle + half) / widened, p)))
    found = None if real is None or not len(real) else 100 * float(real.double().mean())
    return Figure(value=100 * p, low=100 * ends[0], high=100 * ends[1], real=found, count=n)


def mean(values: Tensor, real: Tensor | None = None) -> Figure:
    """The mean of (N,) numbers and its standard interval, N at least 2."""
    value, error = float(values.double().mean()), float(values.double().std()) / math.sqrt(len(values))
    found = None if real is None or not len(real) else float(real.double().mean())
    return Figure(value=value, low=value - Z * error, high=value + Z * error, real=found, count=len(values))


def bootstrap(
    measure: Callable[[Tensor], float], count: int, real: float | None = None, top: float = math.inf
) -> Figure:
    """Of ``measure(items)``, items (count,) indices: how far the bootstrap's quantiles lie from its mean, about θ. The
    bias of drawing pictures twice is in neither end, and θ lies between them (Davison & Hinkley 1997, section 5.2).

    Args:
        top: the most that it can be; the least is 0.
    """
    value = measure(torch.arange(count))
    noise = keyed("bootstrap")
    drawn = torch.tensor([measure(torch.randint(count, (count,), generator=noise)) for _ in range(DRAWS)]).double()
    low, high = (drawn - drawn.mean()).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Figure(value=value, low=max(0.0, value + low), high=min(top, value + high), real=real, count=count)
