"""Adaptive projected guidance (APG): what guidance adds along the estimate itself saturates colours, so it is taken
out; a step that is too long is shortened, and steps may remember those before."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..types import Denoise, Denoised
from .terms import dot, part, three, weight


def projected(guided: Denoise, parallel: float = 1.0, momentum: float = 0.0, limit: float = 0.0) -> Denoise:
    """x_0 = c + (w - 1) (u - (1 - parallel) <u, c> / ‖c‖² c), of the estimate c + (w - 1) (c - b), with

        u = min(1, limit / ‖d‖) d,      d = c - b + momentum d'

    d' that of the noisier time asked before. parallel 1, momentum 0 and no limit is ``guided`` itself. Source: Sadat et
    al. 2024, sections 4 and 5 and algorithm 1, on x_0 as there.

    Args:
        parallel: in [0, 1].
        momentum: in (-1, 1); the paper's is negative.
        limit: of the norm over a picture's numbers; 0 is none.

    Raises:
        InvalidInput: another number.
    """
    if not (0 <= parallel <= 1 and -1 < momentum < 1 and limit >= 0):
        raise InvalidInput(
            f"apg: {parallel:g}, with momentum {momentum:g} and norm {limit:g}, was given; possible are 0 to 1, "
            "between -1 and 1, and from 0"
        )
    remembered: list[tuple[float, Tensor]] = []

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        if (composed := three(found)) is None:
            return found
        x0, cond, base = composed
        strength, turn, now = weight(x0, cond, base) - 1, cond - base, float(t.max())
        earlier = [one for one in remembered if one[0] > now][-1:]
        for _, before in earlier:
            turn = turn + momentum * before
        remembered[:] = [*earlier, (now, turn)]
        if limit:
            turn = turn * part(torch.full_like(strength, limit), dot(turn, turn).sqrt()).clamp_max(1)
        turn = turn - (1 - parallel) * part(dot(turn, cond), dot(cond, cond)) * cond
        return found._replace(x0=(cond + strength * turn).to(found.x0.dtype))

    return denoise if (parallel, momentum, limit) != (1, 0, 0) else guided
