"""DDPM with a variance that the network says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import InvalidInput
from ..noise import Draw
from .ancestral import DDPM
from .core import Estimate, Look, OneStep, Point, silence


@dataclass(frozen=True, kw_only=True)
class LearnedDDPM(OneStep):
    """DDPM's step with the variance between its two bounds, with a = alpha_p / alpha_q (Nichol & Dhariwal 2021,
    equation 15):

        log var = v log beta + (1 - v) log beta~,      beta = sigma_p^2 - a^2 sigma_q^2,      beta~ = beta sigma_q^2 /
        sigma_p^2

    The bounds are those of the step taken, however long it is, and v is what the denoiser says of the variance (section
    4), as `denoise.LearnedVariance` does. A step to clean adds no noise.

    Raises:
        InvalidInput: the denoiser says nothing of a variance.
    """

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, v = at.point, at.denoised.variance
        if v is None:
            raise InvalidInput(
                "this denoiser says no variance: use ddpm, or make it a LearnedVariance or FixedVariance"
            )
        mean = DDPM().move(at, q, look, silence)
        beta = p.sigma**2 - (p.alpha / q.alpha * q.sigma) ** 2
        if q.sigma == 0 or beta <= 0:
            return mean
        large = 0.5 * math.log(beta)  # of deviations
        small = large + math.log(q.sigma / p.sigma)
        return mean + noise(at.x, 0) * (v * (large - small) + small).exp()
