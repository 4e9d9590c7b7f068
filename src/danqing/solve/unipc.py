"""UniPC: a predictor and a corrector of one form, that corrects without another look at the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise import Draw
from ..types import Denoise
from .core import Estimate, Point, blend, evaluate, transfer, within
from .dpmpp import phi


@dataclass(frozen=True, kw_only=True)
class UniPC:
    """UniPC in the data form (Zhao et al. 2023, algorithms 5 to 8). From s to p, h = lambda_p - lambda_s:

        x_p = transfer(x_s, D_s) + alpha_p B(h) sum_j rho_j (D_j - D_s) / r_j,      r_j = (lambda_j - lambda_s) / h
        sum_j rho_j r_j^(i-1) = i! phi_i(h) / B(h),   i = 1, 2, ...

    over the order - 1 estimates before s for the predictor, and over those and the new one, D_p (r = 1), for the
    corrector; a sum of one term has rho = 1/2. When a step has evaluated D_p it first corrects the x_p that led
    there, then predicts from it.

    Args:
        order: of the predictor, 1, 2 or 3; the corrector adds one.
        b: which B(h): 1 is h, 2 is 1 - exp(-h). It matters only for sums of one term.
    """

    order: int = 2
    b: int = 2

    def __post_init__(self):
        within("order", self.order, 1, 3)
        within("b", self.b, 1, 2)

    @property
    def memory(self) -> int:
        return self.order

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        estimate = evaluate(denoise, x, p)
        known = [e for e in reversed(past) if math.isfinite(e.point.lam)]
        if known and math.isfinite(p.lam):
            estimate = estimate._replace(x=self.update(known[0], known[1 : self.order], p, estimate))
        return self.update(estimate, known[: self.order - 1], q, None), estimate

    def update(self, s: Estimate, earlier: Sequence[Estimate], p: Point, there: Estimate | None) -> Tensor:
        """x at p from the estimate at s, those earlier (latest first), and, to correct, the one at p."""
        base = transfer(s.x, s.point, p, s.x0)
        h = p.lam - s.point.lam
        nodes = [*earlier, *([there] if there else [])]
        if not nodes or math.isinf(h):
            return base
        r = [(e.point.lam - s.point.lam) / h for e in nodes]
        scale = h if self.b == 1 else phi(0, h)
        weights = [p.alpha * scale * rho / r_j for rho, r_j in zip(self.rho(r, h, scale), r, strict=True)]
        pairs = [(w, e.x0) for w, e in zip(weights, nodes, strict=True)]
        return base + blend(*pairs, (-sum(weights), s.x0))

    @staticmethod
    def rho(r: Sequence[float], h: float, scale: float) -> list[float]:
        """The solution of the small Vandermonde system above."""
        if len(r) == 1:
            return [0.5]
        powers = torch.tensor([[r_j**i for r_j in r] for i in range(len(r))], dtype=torch.float64)
        right = [math.factorial(i) * phi(i, h) / scale for i in range(1, len(r) + 1)]
        return torch.linalg.solve(powers, torch.tensor(right, dtype=torch.float64)).tolist()
