"""First-order steps, with noise and without: DDPM, DDIM (which is Euler, and Euler ancestral), its inversion, LCM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import InvalidInput
from ..noise import Draw
from ..types import Denoise
from .core import Estimate, Look, OneStep, Point, along, evaluate, transfer, within


def split(p: Point, q: Point, eta: float) -> tuple[Point, float]:
    """The ancestral split of q: aim at the lower point with kappa_down, then add noise of deviation alpha_q kappa_up.

    kappa_up = min(kappa_q, eta kappa_q sqrt(1 - kappa_q^2 / kappa_p^2)),   kappa_down = sqrt(kappa_q^2 - kappa_up^2)
    """
    up = min(q.kappa, eta * q.kappa * math.sqrt(max(0.0, 1 - (q.kappa / p.kappa) ** 2)))
    return (q.lowered(math.sqrt(q.kappa**2 - up**2)), q.alpha * up) if up else (q, 0.0)


@dataclass(frozen=True, kw_only=True)
class DDIM(OneStep):
    """x_q = alpha_q D + sqrt(sigma_q^2 - s^2) e + s z,  s = eta sigma_q sqrt(1 - kappa_q^2 / kappa_p^2).

    eta = 0 is DDIM proper (Song et al. 2020, equation 12) and at once Euler's method in kappa (Karras et al. 2022),
    Euler's method of a flow, and DPM-Solver-1; eta = 1 is DDPM and at once Euler ancestral.
    """

    eta: float = 0.0

    def __post_init__(self):
        within("eta", self.eta, 0.0, 1.0)

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        down, up = split(at.point, q, self.eta)
        x = transfer(at.x, at.point, down, at.x0)
        return x + noise(x, 0) * up if up else x


@dataclass(frozen=True, kw_only=True)
class DDPM(OneStep):
    """A draw from q(x_q | x_p, x_0 = D), with a = alpha_p / alpha_q and beta = sigma_p^2 - a^2 sigma_q^2:

        mean = (a sigma_q^2 / sigma_p^2) x_p + (alpha_q beta / sigma_p^2) D,   variance = beta sigma_q^2 / sigma_p^2

    (Ho et al. 2020, equations 6 and 7, for any alpha and sigma).
    """

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, x = at.point, at.x
        a = p.alpha / q.alpha
        beta = p.sigma**2 - (a * q.sigma) ** 2
        x = x * (a * q.sigma**2 / p.sigma**2) + at.x0 * (q.alpha * beta / p.sigma**2)
        std = q.sigma / p.sigma * math.sqrt(max(beta, 0.0))
        return x + noise(x, 0) * std if std else x


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """DDIM backwards, clean to noise, over increasing times: x_q = along(x_p, p -> q, e).

    A DDIM step from q would use e(x_q, q), but x_q is what is sought: e(x_p, p) stands in for it (Song et al. 2020,
    section 4.3), or e(x_p alpha_q / alpha_p, q) where p is clean. Each further iteration puts e of the x_q found so far
    in its place, so that many of them invert DDIM exactly (Pan et al. 2023). Into pure noise, where x_q holds no trace
    of x_p but through D, it is x_q = (sigma_q / sigma_p) (x_p - alpha_p D).

    Args:
        iterations: how many further looks a step takes, 0 to 1000.

    Raises:
        InvalidInput: a step towards clean: that is DDIM's.
    """

    iterations: int = 0
    memory = 0

    def __post_init__(self):
        within("iterations", self.iterations, 0, 1000)

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        if q.kappa <= p.kappa:
            raise InvalidInput("inversion goes from clean to noise, not towards clean: to paint from noise choose ddim")
        estimate = evaluate(denoise, x, p) if p.sigma else evaluate(denoise, x * (q.alpha / p.alpha), q)
        y = along(x, p, q, estimate.eps)
        for _ in range(self.iterations):
            estimate = evaluate(denoise, y, q)
            y = along(x, p, q, estimate.eps) if q.alpha else (x - estimate.x0 * p.alpha) * (q.sigma / p.sigma)
        return y, estimate


@dataclass(frozen=True, kw_only=True)
class LCM(OneStep):
    """x_q = alpha_q D + sigma_q z: jump to the clean estimate, and noise it afresh (Luo et al. 2023, algorithm 3)."""

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        clean = at.x0 * q.alpha
        return clean + noise(at.x, 0) * q.sigma if q.sigma else clean
