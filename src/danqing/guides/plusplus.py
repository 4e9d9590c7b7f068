"""CFG++: guidance that keeps to the manifold, for first-order solvers: a step goes to the guided estimate and noises it
by what the unguided one takes for noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from ..errors import InvalidInput
from ..solve.ancestral import split
from ..solve.core import Point, step_of
from ..types import Denoise, Denoised


def plusplus(guided: Denoise, scale: float, strength: float, points: Sequence[Point], eta: float = 0.0) -> Denoise:
    """x_0 = b + strength / (1 - kappa_q / kappa_p) (c - b), for a step from p to q, of which a step of DDIM makes

        x_q = alpha_q (b + strength (c - b)) + sigma_q e(b),      e(b) = (x_p - alpha_p b) / sigma_p

    which is CFG++'s. So it is classifier-free guidance whose scale depends on the step: the shorter that is, the
    higher. Source: Chung et al. 2024, algorithm 2 and section 3.2.

    Args:
        guided: b + scale (c - b).
        strength: in [0, 1], lambda there.
        points: that the solver goes between.
        eta: the solver's; q is then what a step aims at before noise is added.

    Raises:
        InvalidInput: another strength, or a scale of 0.
    """
    if not 0 <= strength <= 1 or not scale:
        raise InvalidInput(f"cfgpp: {strength:g} at the scale {scale:g} was given; possible are 0 to 1, at no scale 0")
    gains = [strength / (1 - split(p, q, eta)[0].kappa / p.kappa) for p, q in pairwise(points)]

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        if found.base is None:
            return found
        gain = gains[step_of(points, float(t[0]))] / scale
        return found._replace(x0=found.base + gain * (found.x0 - found.base))

    return denoise
