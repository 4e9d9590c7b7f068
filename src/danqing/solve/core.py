"""The one sampling loop, and what a solver is given: points, past estimates, noise.

Every solver is stated on (alpha, sigma) and D = E[x_0 | x_t], with kappa = sigma / alpha and lambda = -log kappa, so it
gives the same answer whatever the schedule. Two moves carry them all, from p to q, h = lambda_q - lambda_p,
kappa_q / kappa_p = exp(-h):

    transfer:  x_q = (sigma_q / sigma_p) x_p + (alpha_q - alpha_p sigma_q / sigma_p) D        (D held: data form)
    along:     x_q = (alpha_q / alpha_p) x_p + (sigma_q - sigma_p alpha_q / alpha_p) e        (e held: noise form)

They are the same when x_p = alpha_p D + sigma_p e, but ``transfer`` also starts from pure noise (alpha_p = 0) and
``along`` also starts from clean (sigma_p = 0). Coefficients are Python floats: a step costs only tensor arithmetic, and
never changes the dtype of x. Only * and + are used, whose rounding does not depend on where in a batch a number stands.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..noise import Draw
from ..schedule import Schedule
from ..types import Denoise, Denoised, State


@dataclass(frozen=True, slots=True)
class Point:
    """One visited time: t, alpha_t, sigma_t, kappa_t = sigma_t / alpha_t in [0, inf], lam = -log kappa_t."""

    t: float
    alpha: float
    sigma: float
    schedule: Schedule = field(repr=False)
    kappa: float = field(init=False)
    lam: float = field(init=False)

    def __post_init__(self):
        kappa = self.sigma / self.alpha if self.alpha > 0 else math.inf
        object.__setattr__(self, "kappa", kappa)
        object.__setattr__(self, "lam", math.inf if kappa == 0 else -math.log(kappa))

    def between(self, q: Point, part: float) -> Point:
        """The point at lambda = lambda_p + part (lambda_q - lambda_p)."""
        lam = self.lam + part * (q.lam - self.lam)
        return points(self.schedule, self.schedule.time(torch.tensor([2 * lam], dtype=torch.float64)))[0]

    def lowered(self, kappa: float) -> Point:
        """The same time's alpha with less noise: what an ancestral step aims at before it adds noise."""
        return replace(self, sigma=self.alpha * kappa)


def points(schedule: Schedule, times: Tensor) -> tuple[Point, ...]:
    """The points of a spacing's times, (N + 1,); computed once, in float64, before the loop."""
    times = times.to("cpu", torch.float64)
    alpha, sigma = schedule(times)
    rows = zip(times.tolist(), alpha.tolist(), sigma.tolist(), strict=True)
    return tuple(Point(*row, schedule) for row in rows)


def step_of(points: Sequence[Point], t: float) -> int:
    """Which step of those between the points a time is in: one begins at its first point, and none ends."""
    return max(0, sum(p.t >= t for p in points[:-1]) - 1)


class Estimate(NamedTuple):
    """What a step knew: at ``point`` the sample was ``x``, of which the denoiser said ``denoised``."""

    point: Point
    x: Tensor
    denoised: Denoised

    @property
    def x0(self) -> Tensor:
        """E[x_0 | x]."""
        return self.denoised.x0

    @property
    def eps(self) -> Tensor:
        """The noise in x by E[x_0 | x]; it is also dx/dkappa of x / alpha."""
        return self.noise(self.x0)

    def noise(self, x0: Tensor) -> Tensor:
        """The noise in x by some estimate of x_0: (x - alpha x_0) / sigma."""
        p = self.point
        return self.x * (1 / p.sigma) + x0 * (-p.alpha / p.sigma)


class Source(Protocol):
    """Where the draws of each step come from."""

    def at(self, step: int) -> Draw: ...


class Solver(Protocol):
    """One step from p to q. ``memory`` is how many earlier estimates it wants; ``past`` ends with the latest."""

    @property
    def memory(self) -> int: ...

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]: ...


def evaluate(denoise: Denoise, x: Tensor, p: Point) -> Estimate:
    """Ask the denoiser at p, all pictures at one time."""
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    return Estimate(p, x, denoise(x, torch.full((len(x),), p.t, dtype=wide, device=x.device)))


#: Ask the denoiser about a sample at a point.
Look = Callable[[Tensor, Point], Estimate]


class OneStep(ABC):
    """A solver without memory: it moves from the estimate where it stands, and may look elsewhere on the way."""

    memory = 0

    def step(
        self, denoise: Denoise, x: Tensor, p: Point, q: Point, past: Sequence[Estimate], noise: Draw
    ) -> tuple[Tensor, Estimate]:
        """As `Solver` has it."""
        estimate = evaluate(denoise, x, p)
        return self.move(estimate, q, partial(evaluate, denoise), noise), estimate

    @abstractmethod
    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        """The sample at q from the estimate at p, (B, ...)."""


def transfer(x: Tensor, p: Point, q: Point, x0: Tensor) -> Tensor:
    """From p to q with the clean estimate held: exact for constant D; at sigma_q = 0 it is alpha_q D."""
    kept = q.sigma / p.sigma
    return x0 * q.alpha if kept == 0 else x * kept + x0 * (q.alpha - p.alpha * kept)


def along(x: Tensor, p: Point, q: Point, eps: Tensor) -> Tensor:
    """From p to q with the noise estimate held: Euler's step of x / alpha in kappa."""
    kept = q.alpha / p.alpha
    return x * kept + eps * (q.sigma - p.sigma * kept)


def blend(*pairs: tuple[float, Tensor]) -> Tensor:
    """sum_i c_i y_i, in the order given."""
    (c, y), *rest = pairs
    total = y * c
    for c, y in rest:
        total = total + y * c
    return total


def within(name: str, value: float, low: float, high: float) -> None:
    """Refuse an option outside [low, high]; an integer range asks for an integer."""
    if isinstance(value, bool) or not low <= value <= high or (isinstance(low, int) and not isinstance(value, int)):
        raise InvalidInput(
            f"{name} is {value!r}: give {'a whole number' if isinstance(low, int) else 'a number'} from {low} to {high}"
        )


def silence(like: Tensor, draw: int = 0) -> Tensor:
    """No noise at all, for a solver that asks for none."""
    return torch.zeros_like(like)


@torch.no_grad()
def sample(denoise: Denoise, solver: Solver, points: Sequence[Point], x: Tensor, noise: Source) -> Iterator[State]:
    """Walk x along the points, yielding after each step; the caller's ``for`` is progress, preview and cancel.

    Args:
        denoise: (x_t, t) -> E[x_0 | x_t].
        solver: one step.
        points: N + 1 of them; the sample starts at the first and ends at the last.
        x: the sample at the first point, (B, ...): sigma_0 times noise for a picture from nothing.
        noise: where stochastic solvers draw.
    """
    past: deque[Estimate] = deque(maxlen=solver.memory)
    for i, (p, q) in enumerate(pairwise(points)):
        x, estimate = solver.step(denoise, x, p, q, tuple(past), noise.at(i))
        past.append(estimate)
        yield State(step=i + 1, steps=len(points) - 1, t=q.t, x=x, x0=estimate.x0)
