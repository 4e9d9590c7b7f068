"""Alternate guidance: what it adds changes slowly, so its base is computed now and then."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..solve.core import Point
from ..types import Denoise, Denoised


def alternate(guided: Denoise, plain: Denoise, points: Sequence[Point], every: int = 1, below: float = 1.0) -> Denoise:
    """x_0 = c + r/r' (x_0' - c') where t < ``below``, r = sigma / (alpha + sigma), but for every ``every``-th look
    there, which computes both.

    c is what guidance leads towards, and x_0' - c' = (w - 1) (c' - b') what it added at the last time that the base b'
    was computed. With r what stays is the difference of velocities e - x_0, which differ by -1/r of that of x_0. Where
    the weights of the prompts do not sum to 1, or none is above 0, ``plain`` asks for the base as well, and nothing is
    saved. every 1 is ``guided`` itself. After Lv et al. 2024, FasterCache, which corrects the difference by frequency.

    Args:
        guided: b + w (c - b).
        plain: the same at the scale 1, which needs no base.
        points: that the solver goes between.

    Raises:
        InvalidInput: every below 1, or a time that is not in [0, 1].
    """
    if every < 1 or not 0 <= below <= 1:
        raise InvalidInput(f"base: every {every}, below {below:g} was given; possible are from 1, and 0 to 1")
    known: list[tuple[float, Denoised]] = []  # the looks since the base was computed, that one first

    def share(now: float) -> float:
        alpha, sigma = map(float, points[0].schedule(torch.tensor(now, dtype=torch.float64)))
        return sigma / (alpha + sigma)

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        now = float(t[0])
        known[:] = [one for one in known if one[0] > now]
        if now < below and 0 < len(known) < every:
            (then, before), found = known[0], plain(x, t)
            known.append((now, before))
            return _moved(found, before, share(now) / share(then))
        found = guided(x, t)
        known[:] = [(now, found)] if found.cond is not None and found.base is not None else []
        return found

    return denoise if every > 1 else guided


def _moved(found: Denoised, before: Denoised, part: float) -> Denoised:
    """The estimate whose distance from what guidance leads towards is such a part of that before."""
    assert found.cond is not None and before.cond is not None and before.base is not None
    return found._replace(
        x0=found.cond + (before.x0 - before.cond) * part, base=found.cond + (before.base - before.cond) * part
    )
