"""The solvers by the names that users know: one explicit table, `SOLVERS`, which needs no torch until one is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..errors import InvalidInput, UnknownName
from ..tables import Table

if TYPE_CHECKING:
    from .core import Solver


class Row(NamedTuple):
    """A solver of `SOLVERS`.

    Args:
        title: what A1111 calls it, or would.
        make: its options -> the solver.
        order: of convergence, of its covariance where it draws noise; 0 where it claims none.
        looks: how often it asks the network in a step.
        noisy: whether it draws noise in its steps.
    """

    title: str
    make: Callable[..., Solver]
    order: int
    looks: int = 1
    noisy: bool = False


def _made(name: str, **options: Any) -> Callable[..., Solver]:
    """A class of this folder, "module.Class", with options, imported when it is made."""

    def make(**more: Any) -> Solver:
        module, cls = name.split(".")
        return getattr(import_module(f".{module}", __package__), cls)(**{**options, **more})

    return make


#: Every solver by its usual name; options are the class's own, e.g. ``solver("ddim", eta=0.5)``.
SOLVERS: Table[Row] = Table(
    "solver",
    {
        "ddim": Row("DDIM", _made("ancestral.DDIM"), 1),
        "ddpm": Row("DDPM", _made("ancestral.DDPM"), 1, noisy=True),
        "euler": Row("Euler", _made("ancestral.DDIM"), 1),
        "euler-a": Row("Euler a", _made("ancestral.DDIM", eta=1.0), 1, noisy=True),
        "heun": Row("Heun", _made("classic.Heun"), 2, 2),
        "lms": Row("LMS", _made("classic.LMS"), 4),
        "plms": Row("PLMS", _made("classic.PLMS"), 2),
        "dpm2": Row("DPM2", _made("classic.DPMSolver"), 2, 2),
        "dpm3": Row("DPM3", _made("classic.DPMSolver", order=3), 3, 3),
        "dpmpp-2s": Row("DPM++ 2S", _made("dpmpp.Singlestep"), 2, 2),
        "dpmpp-2s-a": Row("DPM++ 2S a", _made("dpmpp.Singlestep", eta=1.0), 2, 2, noisy=True),
        "dpmpp-2m": Row("DPM++ 2M", _made("dpmpp.Multistep"), 2),
        "dpmpp-3m": Row("DPM++ 3M", _made("dpmpp.Multistep", order=3), 3),
        "dpmpp-sde": Row("DPM++ SDE", _made("dpmpp.SinglestepSDE"), 2, 2, noisy=True),
        "dpmpp-1m-sde": Row("DPM++ 1M SDE", _made("dpmpp.Multistep", order=1, eta=1.0), 1, noisy=True),
        "dpmpp-2m-sde": Row("DPM++ 2M SDE", _made("dpmpp.Multistep", eta=1.0), 2, noisy=True),
        "dpmpp-3m-sde": Row("DPM++ 3M SDE", _made("dpmpp.Multistep", order=3, eta=1.0, curvature=0.5), 2, noisy=True),
        "unipc": Row("UniPC", _made("unipc.UniPC"), 3),
        "unipc-3": Row("UniPC 3", _made("unipc.UniPC", order=3), 4),
        "lcm": Row("LCM", _made("ancestral.LCM"), 0, noisy=True),
        "pc": Row("Predictor-Corrector", _made("corrector.PredictorCorrector"), 0, 2, noisy=True),
    },
    kind="solve.solvers:Row",
    columns={
        "elsewhere": lambda row: row.title,
        "order": lambda row: str(row.order or ""),
        "network calls a step": lambda row: str(row.looks),
        "noise": lambda row: "drawn in each step" if row.noisy else "",
    },
)


#: Solvers that were given as objects.
_GIVEN: dict[str, Solver] = {}


def name_of(solver: object) -> object:
    """The name of a solver that is given as an object, its class's, by which it is known as long as the process lives;
    what is no solver stays as it is."""
    if not hasattr(solver, "step"):
        return solver
    made = cast("Solver", solver)
    names = (f"{type(solver).__name__}-{n}" if n else type(solver).__name__ for n in count())
    name = next(name for name in names if _GIVEN.get(name) == made or name not in SOLVERS)
    if name not in SOLVERS:
        SOLVERS.add(name, Row(name, lambda: made, order=0))
        _GIVEN[name] = made
    return name


def solver(name: str, **options: Any) -> Solver:
    """The solver of that name; raises ``UnknownName`` with the nearest, ``InvalidInput`` for options it has not."""
    if name not in SOLVERS:
        raise UnknownName("solver", name, SOLVERS)
    try:
        return SOLVERS[name].make(**options)
    except TypeError as error:
        raise InvalidInput(f"solver {name!r} does not take these options: {options}. {error}") from error
