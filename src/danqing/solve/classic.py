"""Solvers in the noise form: Heun, DPM-Solver, LMS, PLMS. With y = x / alpha their equation is dy/dkappa = e."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..noise import Draw
from ..types import Denoise
from .core import Estimate, Look, OneStep, Point, along, blend, evaluate, transfer, within


@dataclass(frozen=True, kw_only=True)
class Heun(OneStep):
    """The trapezoidal rule: y_q = y_p + (kappa_q - kappa_p) (e_p + e_q) / 2, e_q looked up where Euler would land.

    (Karras et al. 2022, algorithm 1.) From pure noise and to clean, where one of the two is not defined, it is
    Euler's.
    """

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, x = at.point, at.x
        euler = transfer(x, p, q, at.x0)
        if math.isinf(q.lam - p.lam):
            return euler
        return along(x, p, q, blend((0.5, at.eps), (0.5, look(euler, q).eps)))


@dataclass(frozen=True, kw_only=True)
class DPMSolver(OneStep):
    """DPM-Solver, singlestep, of order 1, 2 or 3, with h = lambda_q - lambda_p (Lu et al. 2022a, algorithms 1 and 2):

        x_q = (alpha_q / alpha_p) x_p - sigma_q (exp(h) - 1) e + higher terms

    Order 1 is DDIM. Order 2 holds e of the point midway in lambda (it is DPM2 of k-diffusion too). Order 3 looks at
    1/3 and 2/3. A step from pure noise or to clean, where h is infinite, is of first order.
    """

    order: int = 2

    def __post_init__(self):
        within("order", self.order, 1, 3)

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, x = at.point, at.x
        h = q.lam - p.lam
        if self.order == 1 or math.isinf(h):
            return transfer(x, p, q, at.x0)
        e = at.eps
        if self.order == 2:
            m = p.between(q, 1 / 2)
            return along(x, p, q, look(along(x, p, m, e), m).eps)
        u, v = p.between(q, 1 / 3), p.between(q, 2 / 3)
        at_u = look(along(x, p, u, e), u)
        turn = -2 * v.sigma * (math.expm1(h * 2 / 3) / (h * 2 / 3) - 1)
        at_v = look(along(x, p, v, e) + blend((turn, at_u.eps), (-turn, e)), v)
        turn = -1.5 * q.sigma * (math.expm1(h) / h - 1)
        return along(x, p, q, e) + blend((turn, at_v.eps), (-turn, e))


@dataclass(frozen=True, kw_only=True)
class LMS:
    """Linear multistep: y_q = y_p + int over [kappa_p, kappa_q] of the polynomial through the latest ``order`` <= 4
    values of e.

    Two Gauss points integrate the basis polynomials, of degree 3 at most, exactly.
    """

    order: int = 4

    def __post_init__(self):
        within("order", self.order, 1, 4)

    @property
    def memory(self) -> int:
        return self.order - 1

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        estimate = evaluate(denoise, x, p)
        if math.isinf(p.kappa):
            return transfer(x, p, q, estimate.x0), estimate
        known = [estimate, *(e for e in reversed(past) if math.isfinite(e.point.kappa))][: self.order]
        nodes = [e.point.kappa for e in known]
        half, middle = (q.kappa - p.kappa) / 2, (q.kappa + p.kappa) / 2
        gauss = (middle - half / math.sqrt(3), middle + half / math.sqrt(3))
        weights = [q.alpha * half * sum(_lagrange(nodes, j, at) for at in gauss) for j in range(len(nodes))]
        return blend((q.alpha / p.alpha, x), *((w, e.eps) for w, e in zip(weights, known, strict=True))), estimate


def _lagrange(nodes: Sequence[float], j: int, at: float) -> float:
    """The basis polynomial that is 1 at node j and 0 at the others."""
    return math.prod((at - node) / (nodes[j] - node) for k, node in enumerate(nodes) if k != j)


#: Adams-Bashforth: what the latest 2, 3, 4 values weigh, latest first, when equally spaced.
ADAMS = {2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


@dataclass(frozen=True, kw_only=True)
class PLMS:
    """DDIM's step with e the Adams-Bashforth blend of the latest four, as if equally spaced (Liu et al. 2022, PNDM,
    S-PNDM start).

    The first step is Heun's. Of second order: the weights are right only for equal spacing in kappa.
    """

    memory = 3

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        estimate = evaluate(denoise, x, p)
        if math.isinf(p.kappa):
            return transfer(x, p, q, estimate.x0), estimate
        known = [estimate, *(e for e in reversed(past) if math.isfinite(e.point.kappa))]
        if len(known) > 1:
            eps = blend(*zip(ADAMS[len(known)], (e.eps for e in known), strict=True))
        elif q.sigma > 0:
            there = evaluate(denoise, transfer(x, p, q, estimate.x0), q)
            eps = blend((0.5, estimate.eps), (0.5, there.eps))
        else:
            eps = estimate.eps
        return along(x, p, q, eps), estimate
