"""Measure the order of convergence of every deterministic solver, and write the table of docs/solvers.md.

    python benchmarks/solver_orders.py            prints the table
    python benchmarks/solver_orders.py --write    and puts it into docs/solvers.md

The problem is a mixture of Gaussians, whose E[x_0 | x_t] is known in closed form; the path is that of the probability
flow from lambda = -2 to 2 (noise 7.4 down to 0.14 times the signal's), computed in float64 and compared with an
integrator of order 8. Halving the step divides the error by 2^order. A multistep solver has no past in its first steps
and takes them at lower order; "full start" gives it the exact first steps, which shows the order of the formula itself.
Inversion walks the same path from its end to its beginning.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from danqing.noise import Draw, Noise
from danqing.schedule import VE, VP, Cosine, Flow, ScaledLinear, Schedule, spacing
from danqing.solve import ancestral, classic, core, dpmpp, unipc
from danqing.solve.core import Estimate, Point
from danqing.solve.solvers import SOLVERS, Row, solver
from danqing.types import Denoise, Denoised

DOUBLE = torch.float64


@dataclass(frozen=True)
class Mixture:
    """sum_k w_k N(m_k, s_k^2 I) over the channels of a picture; every pixel is one independent draw."""

    weights: Tensor = field(default_factory=lambda: torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE))
    means: Tensor = field(default_factory=lambda: torch.tensor([[-1.0, 0.5], [1.0, 0.3], [0.2, -1.2]], dtype=DOUBLE))
    stds: Tensor = field(default_factory=lambda: torch.tensor([0.4, 0.6, 0.5], dtype=DOUBLE))

    def clean(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x_0 | x_t]: x (B, C, H, W), alpha and sigma (B,).

        Component k has x_t ~ N(alpha m_k, v_k), v_k = alpha^2 s_k^2 + sigma^2, and
        E[x_0 | x_t, k] = m_k + (alpha s_k^2 / v_k) (x_t - alpha m_k).
        """
        alpha, sigma = alpha.view(-1, 1, 1, 1, 1), sigma.view(-1, 1, 1, 1, 1)
        means = self.means[:, :, None, None]  # (K, C, 1, 1)
        variances = self.stds.view(-1, 1, 1, 1).square()  # (K, 1, 1, 1)
        spread = alpha.square() * variances + sigma.square()  # (B, K, 1, 1, 1)
        off = x[:, None] - alpha * means  # (B, K, C, H, W)
        log = -off.square().sum(2, keepdim=True) / (2 * spread) - spread.log() * x.shape[1] / 2
        share = torch.softmax(log + self.weights.log().view(-1, 1, 1, 1), dim=1)  # (B, K, 1, H, W)
        return (share * (means + alpha * variances / spread * off)).sum(1)

    def denoise(self, schedule: Schedule) -> Denoise:
        return lambda x, t: Denoised(self.clean(x, *schedule(t)))

    def exact(self, x: Tensor, p: Point, q: Point) -> Tensor:
        """The probability flow from p to q, dy/dlambda = D - y for y = x / alpha, by Dormand and Prince's order 8."""

        def slope(lam: float, y):
            y = torch.from_numpy(y).view_as(x)
            clean = self.clean(y, torch.ones(len(x), dtype=DOUBLE), torch.full((len(x),), math.exp(-lam), dtype=DOUBLE))
            return (clean - y).flatten().numpy()

        y = (x / p.alpha).flatten().numpy()
        y = solve_ivp(slope, (p.lam, q.lam), y, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        return q.alpha * torch.from_numpy(y.copy()).view_as(x)


def path(schedule: Schedule, steps: int, start: float = -2.0, end: float = 2.0) -> tuple[Point, ...]:
    """steps + 1 points from lambda = start to end, smoothly but not equally spaced."""
    u = torch.linspace(0, 1, steps + 1, dtype=DOUBLE)
    lam = start + (end - start) * (u + 0.1 * torch.sin(math.pi * u))
    return core.points(schedule, schedule.time(2 * lam))


def initial(schedule: Schedule, count: int = 16) -> Tensor:
    """The same noisy y = x / alpha for every schedule, (1, 2, 1, count), at lambda = -2."""
    noise = torch.randn(1, 2, 1, count, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    return path(schedule, 1)[0].alpha * math.exp(2.0) * noise


@cache
def _truth(lam: float) -> Tensor:
    start = path(VE(), 1)[0]
    q = core.points(VE(), VE().time(torch.tensor([2 * lam], dtype=DOUBLE)))[0]
    return Mixture().exact(initial(VE()), start, q)


def truth(p: Point) -> Tensor:
    """The exact flow from ``initial`` to p: alpha_p y(lambda_p), y the same for all schedules."""
    return p.alpha * _truth(round(p.lam, 10))


@dataclass(frozen=True)
class FullStart:
    """A solver whose first ``memory`` steps are the exact flow."""

    solver: core.Solver

    @property
    def memory(self) -> int:
        return self.solver.memory

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        if len(past) == self.memory:
            return self.solver.step(denoise, x, p, q, past, noise)
        return truth(q), Estimate(p, x, denoise(x, torch.full((len(x),), p.t, dtype=DOUBLE)))


def last(denoise: Denoise, solver: core.Solver, points: Sequence[Point], x: Tensor) -> Tensor:
    """Where the loop ends."""
    for state in core.sample(denoise, solver, points, x, Noise.of(0, range(len(x)))):
        x = state.x
    return x


def measured(solver: core.Solver, schedule: Schedule, full_start: bool, steps: int = 64) -> float:
    """log2 of how much the largest error falls from ``steps`` to twice as many, from the exact sample at the first."""
    denoise, walker = Mixture().denoise(schedule), FullStart(solver) if full_start else solver

    def error(n: int) -> float:
        points = path(schedule, n)
        points = points[::-1] if isinstance(solver, ancestral.Inversion) else points
        return (last(denoise, walker, points, truth(points[0])) - truth(points[-1])).abs().max().item()

    return math.log2(error(steps) / error(2 * steps))


#: Every solver, and the way back from clean to noise, which no request can name.
EVERY = (*SOLVERS, "inversion")


def built(name: str, **options: float) -> core.Solver:
    """One of `EVERY`."""
    return ancestral.Inversion(**options) if name == "inversion" else solver(name, **options)  # type: ignore[arg-type]


class Claim(NamedTuple):
    """What the source says of a solver's order; what ours is held to: from a cold start, and of the formula itself."""

    make: Callable[[], core.Solver]
    claimed: str
    cold: float
    full: float


#: The deterministic solvers. The cold order of a multistep solver is limited by its first steps: one step of order k
#: costs an error of h^(k+1), once.
CLAIMS: dict[str, Claim] = {
    "euler, ddim": Claim(ancestral.DDIM, "1", 1, 1),
    "inversion": Claim(ancestral.Inversion, "1", 1, 1),
    "heun": Claim(classic.Heun, "2", 2, 2),
    "dpm2, order 1": Claim(lambda: classic.DPMSolver(order=1), "1", 1, 1),
    "dpm2": Claim(classic.DPMSolver, "2", 2, 2),
    "dpm3": Claim(lambda: classic.DPMSolver(order=3), "3", 3, 3),
    "lms, order 2": Claim(lambda: classic.LMS(order=2), "2", 2, 2),
    "lms, order 3": Claim(lambda: classic.LMS(order=3), "3", 2, 3),
    "lms": Claim(classic.LMS, "4", 2, 4),
    "plms": Claim(classic.PLMS, "2", 2, 2),
    "dpmpp-2s": Claim(dpmpp.Singlestep, "2", 2, 2),
    "dpmpp-2m": Claim(dpmpp.Multistep, "2", 2, 2),
    "dpmpp-2m, exact weights": Claim(lambda: dpmpp.Multistep(midpoint=False), "2", 2, 2),
    "dpmpp-3m": Claim(lambda: dpmpp.Multistep(order=3), "3", 2, 3),
    "dpmpp-3m, published weights": Claim(lambda: dpmpp.Multistep(order=3, curvature=0.5), "3", 2, 2),
    "unipc, order 1 (B2)": Claim(lambda: unipc.UniPC(order=1), "2", 2, 2),
    "unipc (B2)": Claim(unipc.UniPC, "3", 3, 3),
    "unipc (B1)": Claim(lambda: unipc.UniPC(b=1), "3", 3, 3),
    "unipc-3 (B2)": Claim(lambda: unipc.UniPC(order=3), "4", 3, 4),
    "unipc-3 (B1)": Claim(lambda: unipc.UniPC(order=3, b=1), "4", 3, 4),
}

# Stochastic solvers: the covariance that they end in ------------------------------------------------------------------

MEAN = torch.tensor([0.7, -0.4], dtype=DOUBLE)[:, None, None]
GAUSSIAN = torch.tensor([[0.5, 0.3], [0.3, 0.8]], dtype=DOUBLE)


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T


def marginal(alpha: float, sigma: float) -> Tensor:
    """The covariance of x_t, alpha^2 S + sigma^2 I."""
    return alpha**2 * GAUSSIAN + sigma**2 * torch.eye(2, dtype=DOUBLE)


def _affine(matrix: Tensor, x: Tensor, alpha: float) -> Tensor:
    return MEAN + torch.einsum("cd,bdhw->bchw", matrix, x - alpha * MEAN)


def posterior(schedule: Schedule, x: Tensor, t: Tensor) -> Denoised:
    """E[x_0 | x_t] = m + alpha S (alpha^2 S + sigma^2 I)^-1 (x_t - alpha m)."""
    alpha, sigma = (c.item() for c in schedule(t[:1]))
    return Denoised(_affine(alpha * GAUSSIAN @ torch.linalg.inv(marginal(alpha, sigma)), x, alpha))


def consistency(schedule: Schedule, x: Tensor, t: Tensor) -> Denoised:
    """Where the probability flow from x_t ends: m + S^(1/2) (alpha^2 S + sigma^2 I)^(-1/2) (x_t - alpha m)."""
    alpha, sigma = (c.item() for c in schedule(t[:1]))
    return Denoised(_affine(root(GAUSSIAN) @ torch.linalg.inv(root(marginal(alpha, sigma))), x, alpha))


@dataclass(frozen=True)
class Impulses:
    """In the place of noise: draw k of step i is 1 at its own pixel (one for each channel) and 0 elsewhere.

    With a linear denoiser the end is a sum over all draws z of B z, and so each pixel shows a column of its B.
    """

    def at(self, step: int) -> Draw:
        return lambda like, draw=0: self(like, 1 + 2 * step + draw)

    def __call__(self, like: Tensor, place: int = 0) -> Tensor:
        impulse = torch.zeros_like(like)
        impulse[:, 0, 0, 2 * place] = impulse[:, 1, 0, 2 * place + 1] = 1
        return impulse


def gaussian_path(schedule: Schedule, steps: int) -> tuple[Point, ...]:
    return path(schedule, steps, -2.0, 3.0)


def moments(solver: core.Solver, points: Sequence[Point], how: Denoise | None = None) -> tuple[Tensor, Tensor]:
    """Errors of mean and covariance at the last point, from the exact marginal at the first; without chance."""
    schedule, p, q = points[0].schedule, points[0], points[-1]
    pixels = torch.zeros(1, 2, 1, 4 * len(points) + 1, dtype=DOUBLE)  # the last one takes no impulse: the mean
    x = p.alpha * MEAN + torch.einsum("cd,bdhw->bchw", root(marginal(p.alpha, p.sigma)), Impulses()(pixels))
    for state in core.sample(how or partial(posterior, schedule), solver, points, x, Impulses()):
        x = state.x
    mean, columns = x[0, :, 0, -1], x[0, :, 0, :-1] - x[0, :, 0, -1:]
    return mean - q.alpha * MEAN.flatten(), columns @ columns.T - marginal(q.alpha, q.sigma)


def weak_order(solver: core.Solver, steps: int = 100) -> float:
    """log2 of how much the largest error of the covariance falls from ``steps`` to twice as many."""
    errors = [moments(solver, gaussian_path(VP(), n))[1].abs().max().item() for n in (steps, 2 * steps)]
    return math.log2(errors[0] / errors[1])


NOISY: dict[str, Claim] = {
    "ddpm": Claim(ancestral.DDPM, "1", 1, 1),
    "euler-a, ddim eta 1": Claim(lambda: ancestral.DDIM(eta=1.0), "1", 1, 1),
    "ddim eta 0.5": Claim(lambda: ancestral.DDIM(eta=0.5), "1", 1, 1),
    "dpmpp-2s-a": Claim(lambda: dpmpp.Singlestep(eta=1.0), "2", 2, 2),
    "dpmpp-2s-a eta 0.5": Claim(lambda: dpmpp.Singlestep(eta=0.5), "2", 2, 2),
    "dpmpp-sde": Claim(dpmpp.SinglestepSDE, "2", 2, 2),
    "dpmpp-sde eta 0.5": Claim(lambda: dpmpp.SinglestepSDE(eta=0.5), "2", 2, 2),
    "dpmpp-sde, independent draws": Claim(lambda: dpmpp.SinglestepSDE(brownian=False), "2", 1, 1),
    "dpmpp-1m-sde": Claim(lambda: dpmpp.Multistep(order=1, eta=1.0), "1", 1, 1),
    "dpmpp-2m-sde": Claim(lambda: dpmpp.Multistep(eta=1.0), "2", 2, 2),
    "dpmpp-2m-sde eta 0.5": Claim(lambda: dpmpp.Multistep(eta=0.5), "2", 2, 2),
    "dpmpp-3m-sde": Claim(lambda: dpmpp.Multistep(order=3, eta=1.0, curvature=0.5), "3", 2, 2),
    "dpmpp-3m-sde, curvature 1": Claim(lambda: dpmpp.Multistep(order=3, eta=1.0), "3", 2, 2),
}


def order_of(row: Row) -> float:
    """The measured order of a solver: of its covariance, where it draws noise; infinite where it claims none."""
    if not row.order:
        return math.inf
    return weak_order(row.make()) if row.noisy else measured(row.make(), VP(), full_start=True)


def looks(row: Row) -> int:
    """How often a solver asks the denoiser in six steps to clean."""
    asked = []

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        asked.append(t)
        return Denoised(0.5 * x)

    last(denoise, row.make(), core.points(VP(), spacing("linspace")(VP(), 6)), torch.ones(1, 1, 2, 2))
    return len(asked)


SCHEDULES: dict[str, Schedule] = {
    "scaled-linear": ScaledLinear(),
    "cosine": Cosine(),
    "VP": VP(),
    "VE": VE(),
    "flow": Flow(),
}


def table() -> str:
    head = ["solver", "claimed", "cold start (VP)", *(f"full start, {name}" for name in SCHEDULES)]
    rows = [head, ["---"] * len(head)]
    for name, claim in CLAIMS.items():
        cold = measured(claim.make(), SCHEDULES["VP"], False)
        full = [measured(claim.make(), schedule, True) for schedule in SCHEDULES.values()]
        rows.append([name, claim.claimed, f"{cold:.2f}", *(f"{order:.2f}" for order in full)])
    noisy = [["stochastic solver", "claimed", "covariance (VP)"], ["---"] * 3]
    noisy += [[name, claim.claimed, f"{weak_order(claim.make()):.2f}"] for name, claim in NOISY.items()]
    return "\n\n".join("\n".join("| " + " | ".join(row) + " |" for row in t) for t in (rows, noisy))


START, END = "<!-- measured -->", "<!-- end measured -->"


def main() -> None:
    torch.set_num_threads(1)  # the tensors are tiny
    text = table()
    print(text)
    if "--write" in sys.argv:
        page = Path(__file__).parents[1] / "docs" / "solvers.md"
        before, rest = page.read_text().split(START)
        page.write_text(f"{before}{START}\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
