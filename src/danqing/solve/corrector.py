"""Predictor and corrector: any solver's step, and then steps of Langevin's at the time it came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import InvalidInput
from ..noise import Draw
from ..types import Denoise
from .ancestral import DDPM
from .core import Estimate, Point, Solver, evaluate, within

#: Where the corrector's draws are counted from, past those of any predictor.
FIRST = 2


def langevin(denoise: Denoise, x: Tensor, q: Point, snr: float, z: Tensor) -> Tensor:
    """One step of Langevin's at q, which leaves the distribution of x_q as it is, to second order in its length.

    dx = s dw + sqrt(2) dB has the density whose score is s for its own, over any length w (Song et al. 2021, algorithms
    4 and 5, take w = 2 (snr |z| / |s|)^2; |z| / |s| is sigma_q here, which depends on no sample). As s = -(x - alpha D)
    / sigma^2, with D held over the step it is an Ornstein-Uhlenbeck process around alpha D, which is solved as it is, c
    = 1 - w / sigma^2 = 1 - 2 snr^2:

        x <- alpha D + c (x - alpha D) + sqrt(1 - c^2) sigma z  =  x + w s + sqrt(2 w - w^2 / sigma^2) z

    In other words, a part of the noise in x is renewed. For data of a single picture it is exact at any length;
    repeated without end it settles, in any direction, within snr^2 of the variance, relative to it.
    """
    kept = 1 - 2 * snr**2
    estimate = evaluate(denoise, x, q)
    return x * kept + estimate.x0 * (q.alpha * (1 - kept)) + z * (q.sigma * math.sqrt(1 - kept**2))


@dataclass(frozen=True, kw_only=True)
class PredictorCorrector:
    """A step of the predictor from p to q, then ``corrections`` steps of Langevin's at q (Song et al. 2021, algorithm
    1).

    The predictor follows the reverse-time SDE or the probability flow, and errs; the corrector draws what has the wrong
    distribution to the right one, at a look each. DDPM is the step of the reverse-time SDE with D held, DDIM that of
    the flow. At a clean q there is nothing to correct.

    Args:
        predictor: any solver without memory, as a multistep one would read a past that the corrector has left.
        corrections: how many, 0 to 100.
        snr: r, the length of a correction as signal to noise, 0 to 0.7: where r^2 = 1/2 all of the noise is renewed.

    Raises:
        InvalidInput: an option outside its range, or a predictor with memory.
    """

    predictor: Solver = field(default_factory=DDPM)
    corrections: int = 1
    snr: float = 0.16
    memory = 0

    def __post_init__(self):
        within("corrections", self.corrections, 0, 100)
        within("snr", self.snr, 0.0, 0.7)
        if self.predictor.memory:
            raise InvalidInput(
                f"{self.predictor} reads earlier steps, from which a corrector leads away: choose ddpm, ddim or heun"
            )

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        x, estimate = self.predictor.step(denoise, x, p, q, past, noise)
        for i in range(self.corrections if q.sigma else 0):
            x = langevin(denoise, x, q, self.snr, noise(x, FIRST + i))
        return x, estimate
