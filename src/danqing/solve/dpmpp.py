"""DPM-Solver++: exponential integrators in the data form (Lu et al. 2022b), as ODE and as SDE.

With rate = 1 + eta and z = rate h, h = lambda_q - lambda_p, the exact solution of the reverse process from p to q is

    x_q = (sigma_q / sigma_p) exp(-eta h) x_p + alpha_q z int_0^1 exp(-z (1 - s)) D(lambda_p + s h) ds + noise
    noise ~ N(0, sigma_q^2 (1 - exp(-2 eta h)))

and the members differ in how they guess D between p and q: from earlier steps (M) or from a look ahead (S).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..noise import Draw
from ..types import Denoise
from .ancestral import split
from .core import Estimate, Look, OneStep, Point, blend, evaluate, transfer, within


def phi(k: int, z: float) -> float:
    """z int_0^1 exp(-z (1 - s)) s^k / k! ds: 1 - exp(-z), then phi_k = 1 / k! - phi_(k-1) / z; a series where that
    cancels.

    It is the weight of the k-th derivative of D. It tends to z / (k + 1)! for small z, and to 1 / k! for large.
    """
    if k == 0:
        return -math.expm1(-z)
    if z < 0.3:  # z sum_j (-z)^j / (k + 1 + j)!
        return z * sum((-z) ** j / math.factorial(k + 1 + j) for j in range(12))
    return 1 / math.factorial(k) - phi(k - 1, z) / z


@dataclass(frozen=True, kw_only=True)
class Multistep:
    """DPM-Solver++ (1M, 2M, 3M) and its SDE forms: D is the polynomial through the latest ``order`` estimates.

        x_q = (sigma_q / sigma_p) exp(-eta h) x_p + alpha_q (phi_0 D + phi_1 D' + phi_2 D'') + noise

    D' and D'' are the derivatives at p, in units of h, of that polynomial (divided differences). A step from pure
    noise or to clean, where h is infinite, is of first order.

    Args:
        order: 1, 2 or 3.
        eta: how much noise: 0 the ODE, 1 the reverse SDE.
        midpoint: with order 2, weigh D' by phi_0 / 2 instead of phi_1 (the published 2M; equal to second order).
        curvature: 1 for the third order that the interpolation has; 0.5 for the formula of the published code and of
            k-diffusion, which takes the divided difference, D'' / 2, for D'' and is of second order.
    """

    order: int = 2
    eta: float = 0.0
    midpoint: bool = True
    curvature: float = 1.0

    def __post_init__(self):
        within("order", self.order, 1, 3)
        within("eta", self.eta, 0.0, 1.0)

    @property
    def memory(self) -> int:
        return self.order - 1

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        estimate = evaluate(denoise, x, p)
        h = q.lam - p.lam
        if math.isinf(h):
            kept, std, weight = self.infinite(p, q)
            weights = [(weight, estimate.x0)]
        else:
            known = [estimate, *(e for e in reversed(past) if math.isfinite(e.point.lam))][: self.order]
            kept = q.sigma / p.sigma * math.exp(-self.eta * h)
            std = q.sigma * math.sqrt(-math.expm1(-2 * self.eta * h))
            weights = [(q.alpha * w, e.x0) for w, e in zip(self.weights(known, h), known, strict=True)]
        x = blend((kept, x), *weights) if kept else blend(*weights)
        return (x + noise(x, 0) * std if std else x), estimate

    def infinite(self, p: Point, q: Point) -> tuple[float, float, float]:
        """(kept, std, weight of D) where h is infinite: the ODE keeps the noise in x, the SDE draws it anew."""
        if self.eta:
            return 0.0, q.sigma, q.alpha
        return q.sigma / p.sigma, 0.0, q.alpha - p.alpha * q.sigma / p.sigma

    def weights(self, known: Sequence[Estimate], h: float) -> list[float]:
        """What each of the latest estimates weighs, latest first; they sum to phi_0(z)."""
        z = (1 + self.eta) * h
        if len(known) == 1:
            return [phi(0, z)]
        r = (known[0].point.lam - known[1].point.lam) / h
        if len(known) == 2:
            w = (phi(0, z) / 2 if self.midpoint and self.order == 2 else phi(1, z)) / r
            return [phi(0, z) + w, -w]
        u = (known[1].point.lam - known[2].point.lam) / h
        # Divided differences: f01 = (D0 - D1) / r, f12 = (D1 - D2) / u, f012 = (f01 - f12) / (r + u);
        # D' = f01 + r f012 and D'' = 2 f012.
        first, second = phi(1, z), r * phi(1, z) + 2 * self.curvature * phi(2, z)  # weights of f01 and f012
        f01, f12 = first + second / (r + u), -second / (r + u)
        return [phi(0, z) + f01 / r, f12 / u - f01 / r, -f12 / u]


@dataclass(frozen=True, kw_only=True)
class Singlestep(OneStep):
    """DPM-Solver++ (2S): look ahead to the point m midway in lambda, and hold D(m) over the whole step.

        x_m = transfer(x_p, p -> m, D_p),      x_q = transfer(x_p, p -> q, D_m)

    With eta > 0 the step aims at the lowered q of an ancestral step and adds noise at its end: "2S a" of k-diffusion.
    """

    eta: float = 0.0

    def __post_init__(self):
        within("eta", self.eta, 0.0, 1.0)

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, x, x0 = at.point, at.x, at.x0
        down, up = split(p, q, self.eta)
        if math.isfinite(p.lam) and math.isfinite(down.lam):
            m = p.between(down, 0.5)
            x0 = look(transfer(x, p, m, x0), m).x0
        x = transfer(x, p, down, x0)
        return x + noise(x, 0) * up if up else x


@dataclass(frozen=True, kw_only=True)
class SinglestepSDE(OneStep):
    """DPM-Solver++ (2S) as an SDE: the look ahead to m and the step to q are both ancestral, as in k-diffusion.

    Both noises are of one Brownian motion, whose clock is 1 / kappa^2 (at eta = 1): those of [p, m] and [p, q] have the
    correlation c = sqrt((kappa_m^-2 - kappa_p^-2) / (kappa_q^-2 - kappa_p^-2)). With independent draws it is a method
    of first order.

    Args:
        eta: how much noise, in [0, 1].
        brownian: whether the two draws are correlated so.
    """

    eta: float = 1.0
    brownian: bool = True

    def __post_init__(self):
        within("eta", self.eta, 0.0, 1.0)

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, x = at.point, at.x
        down, up = split(p, q, self.eta)
        if math.isinf(q.lam - p.lam):
            x = transfer(x, p, down, at.x0)
            return x + noise(x, 1) * up if up else x
        m = p.between(q, 0.5)
        low, lift = split(p, m, self.eta)
        ahead = transfer(x, p, low, at.x0)
        if not up:
            return transfer(x, p, q, look(ahead, m).x0)
        first = noise(x, 0)
        x = transfer(x, p, down, look(ahead + first * lift, m).x0)
        clock = [k.kappa**-2 - p.kappa**-2 for k in (m, q)]
        c = math.sqrt(clock[0] / clock[1]) if self.brownian else 0.0
        return x + blend((c * up, first), (math.sqrt(1 - c * c) * up, noise(x, 1)))
