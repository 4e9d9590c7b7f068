"""The solvers by the names that users know: one explicit table, `SOLVERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..errors import InvalidInput, UnknownName
from .ancestral import DDIM, DDPM, LCM, Inversion
from .classic import LMS, PLMS, DPMSolver, Heun
from .core import Solver
from .corrector import PredictorCorrector
from .dpmpp import Multistep, Singlestep, SinglestepSDE
from .unipc import UniPC

#: Every solver by its usual name; options are the class's own, e.g. ``SOLVERS["ddim"](eta=0.5)``.
SOLVERS: Mapping[str, Callable[..., Solver]] = {
    "ddim": DDIM,
    "ddpm": DDPM,
    "euler": DDIM,
    "euler-a": partial(DDIM, eta=1.0),
    "heun": Heun,
    "lms": LMS,
    "plms": PLMS,
    "dpm2": DPMSolver,
    "dpm3": partial(DPMSolver, order=3),
    "dpmpp-2s": Singlestep,
    "dpmpp-2s-a": partial(Singlestep, eta=1.0),
    "dpmpp-2m": Multistep,
    "dpmpp-3m": partial(Multistep, order=3),
    "dpmpp-sde": SinglestepSDE,
    "dpmpp-1m-sde": partial(Multistep, order=1, eta=1.0),
    "dpmpp-2m-sde": partial(Multistep, eta=1.0),
    "dpmpp-3m-sde": partial(Multistep, order=3, eta=1.0, curvature=0.5),
    "unipc": UniPC,
    "unipc-3": partial(UniPC, order=3),
    "lcm": LCM,
    "pc": PredictorCorrector,
    "inversion": Inversion,
}


def solver(name: str, **options: Any) -> Solver:
    """The solver of that name; raises ``UnknownName`` with the nearest, ``InvalidInput`` for options it has not."""
    if name not in SOLVERS:
        raise UnknownName("solver", name, SOLVERS)
    try:
        return SOLVERS[name](**options)
    except TypeError as error:
        raise InvalidInput(f"solver {name!r} does not take these options: {options}. {error}") from error
