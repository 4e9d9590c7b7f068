"""Which of the steps a request takes, and by which solver: a picture that is painted over another begins late."""

from __future__ import annotations

from ..errors import InvalidInput
from ..request.request import Resolved
from ..solve import solvers
from ..solve.core import Point, Solver


def part(steps: int, strength: float) -> int:
    """How many of so many steps a strength takes, the last ones: round(strength · N), at least one unless the strength
    is 0."""
    return min(steps, max(round(strength * steps), 1 if strength else 0))


def taken(request: Resolved) -> tuple[int, int]:
    """How many steps a request takes, and of how many."""
    steps = request.sampling.steps
    return steps if request.recipe == "text2image" else part(steps, request.edit.strength), steps


def later(points: tuple[Point, ...], request: Resolved) -> tuple[Point, ...]:
    """The points of the steps that are taken, the last ones."""
    kept, steps = taken(request)
    return points[steps - kept :]


def window(request: Resolved, start: float, end: float) -> tuple[int, int, int]:
    """Of the steps that are taken the first within two parts of them, 0 <= start <= end <= 1, the first after, and how
    many there are."""
    steps = taken(request)[0]
    return round(start * steps), round(end * steps), steps


def solver_of(request: Resolved) -> Solver:
    """The solver of a resolved request; eta only where it is stated, for not every solver takes one."""
    name, eta = request.sampling.solver, request.sampling.eta
    if eta is None:
        return solvers.solver(name)
    try:
        return solvers.solver(name, eta=eta)
    except InvalidInput:
        raise InvalidInput(
            f"eta: {eta:g} was given; the solver {name} takes none: leave eta out, or use ddim or dpmpp-2m"
        ) from None
