"""The wrappers that the guided estimate of a picture passes through: one explicit table, `GUIDANCE`. Some spare
estimates their network, and so lie below all of those that compose them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from .. import guide
from ..errors import InvalidInput
from ..guides.alternate import alternate
from ..guides.deep import deep
from ..guides.dynamic import dynamic
from ..guides.forecast import forecast
from ..guides.perturbed import perturbed
from ..guides.plusplus import plusplus
from ..guides.projected import projected
from ..guides.zero_star import zero_star
from ..nets.deep import KEEP, TAKE, Deep, Memory
from ..nets.merged import Merge
from ..nets.perturbed import MARK, perturb
from ..request.request import Resolved
from ..run.shared import Attach
from ..solve.ancestral import DDIM
from ..solve.core import Point
from ..tables import Table
from ..types import Conditioning, Denoise
from .adapters.attachment import Target
from .say import Say, Terms, each
from .steps import solver_of


@dataclass(frozen=True)
class At:
    """``at(scale, *say)``: the estimate at a scale, and of what more steps say, which no wrapper has touched.

    Args:
        make: makes it.
        points: that the steps go between.
    """

    make: Callable[..., Denoise]
    points: Sequence[Point]

    def __call__(self, scale: float, *say: object) -> Denoise:
        return self.make(scale, *say)


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """What is made of a guided estimate: a row of `GUIDANCE`.

    Args:
        wrap: (guided, at, request) -> the estimate that is followed; ``guided`` itself where the request asks for none.
        spare: (at, request) -> the estimates that wrappers are given, asked of the network less often.
        does: in one sentence.
        uses: the fields of a request that it reads, by their flat names.
        check: refuses what a request asks of it in vain, by InvalidInput.
        on: what it puts on the networks while they compute for the request.
    """

    wrap: Callable[[Denoise, At, Resolved], Denoise] = lambda guided, at, request: guided
    does: str
    spare: Callable[[At, Resolved], At] = lambda at, request: at
    uses: Collection[str] = ()
    check: Callable[[Resolved], None] = lambda request: None
    on: Callable[[Resolved, Target], Iterable[Attach]] = lambda request, target: ()


# ---------------------------------------------------------------------------------------------------------------- CFG++


def _plusplus(guided: Denoise, at: At, request: Resolved) -> Denoise:
    strength, solver = request.guidance.cfgpp, solver_of(request)
    if not strength or not isinstance(solver, DDIM):
        return guided
    return plusplus(at(2.0), 2.0, strength, at.points, solver.eta)  # at a scale that always has a base


def _one_way(request: Resolved) -> None:
    """Refuse CFG++ with a solver that has no such step, or beside what says otherwise how far guidance goes.

    Raises:
        InvalidInput: so it is.
    """
    says = request.guidance
    if not says.cfgpp:
        return
    if not isinstance(solver_of(request), DDIM):
        raise InvalidInput(
            f"cfgpp: {says.cfgpp:g} was given with the solver {request.sampling.solver}; possible are ddim, euler and "
            "euler-a, whose step CFG++ is"
        )
    if says.zero_star:
        raise InvalidInput("cfgpp and zero_star both say what guidance counts from: leave one out")


# ------------------------------------------------------------------------------------------------------------------ PAG


def _marked(said: Conditioning) -> Conditioning:
    mark = torch.ones(said.batch, 1, device=said.tokens.device)
    return replace(said, extra={**said.extra, MARK: mark})


def _perturbed(guided: Denoise, at: At, request: Resolved) -> Denoise:
    scale, led = request.guidance.pag, request.guidance.scale
    return perturbed(guided, at(1.0 if led > 0 else led, each(_marked, _marked)), scale) if scale else guided


def _perturbing(request: Resolved, target: Target) -> Iterable[Attach]:
    layers = [name.strip() for name in request.guidance.pag_layers.split(",") if name.strip()]
    return [partial(perturb, target.nets["denoiser"], layers)] if request.guidance.pag else []


# ---------------------------------------------------------------------------------------------- what is not computed


def _deep(at: At, request: Resolved) -> At:
    says = request.acceleration

    def make(scale: float, *say: object) -> Denoise:
        memories = list[Memory]()
        whole, outer = (at(scale, *say, _remembered(name, memories)) for name in (KEEP, TAKE))
        return deep(whole, outer, at.points, says.deep_every, lambda: [one.kept.clear() for one in memories])

    return replace(at, make=make) if says.deep_every > 1 else at


def _remembered(name: str, memories: list[Memory]) -> Say:
    """A step by which each term, and the base, is marked to keep or to take, in a memory of its own."""

    def say(terms: Terms, base: Conditioning) -> tuple[Terms, Conditioning]:
        every = [*(cond for cond, _ in terms), base]
        memories.extend(Memory() for _ in every[len(memories) :])
        *marked, away = (
            replace(cond, extra={**cond.extra, name: memory.mark}) for cond, memory in zip(every, memories, strict=True)
        )
        return tuple(zip(marked, (weight for _, weight in terms), strict=True)), away

    return say


def _deepening(request: Resolved, target: Target) -> Iterable[Attach]:
    says = request.acceleration
    return [Deep(target.nets["denoiser"], says.deep_outer)] if says.deep_every > 1 else []


def _merging(request: Resolved, target: Target) -> Iterable[Attach]:
    ratio = request.acceleration.merge_tokens
    return [Merge(target.nets["denoiser"], ratio, request.seed)] if ratio else []


def _alternated(at: At, request: Resolved) -> At:
    says = request.acceleration

    def make(scale: float, *say: object) -> Denoise:
        return alternate(at(scale, *say), at(1.0, *say), at.points, says.base_every, says.base_below)

    return replace(at, make=make) if says.base_every > 1 else at


def _forecast(at: At, request: Resolved) -> At:
    says = request.acceleration

    def make(scale: float, *say: object) -> Denoise:
        return forecast(at(scale, *say), at.points, says.forecast, says.forecast_order)

    return replace(at, make=make) if says.forecast > 1 else at


def _spared(request: Resolved) -> None:
    """Refuse what says how to spare the network where nothing spares it.

    Raises:
        InvalidInput: so it is.
    """
    said, says = request.stated(), request.acceleration
    for every, more in (
        ("deep_every", ("deep_outer",)),
        ("forecast", ("forecast_order",)),
        ("base_every", ("base_below",)),
    ):
        if getattr(says, every) == 1 and (vain := [name for name in more if name in said]):
            raise InvalidInput(
                f"{', '.join(vain)} was given, but {every} is 1, which computes all: leave {vain[0]} out, or give "
                f"{every} from 2"
            )


#: In the order in which they are applied.
GUIDANCE: Table[Wrapper] = Table(
    "guidance",
    {
        "deep": Wrapper(
            spare=_deep,
            does="Computes a network's outermost layers alone in some steps (Ma et al. 2024).",
            uses=("deep_every", "deep_outer"),
            on=_deepening,
        ),
        "merge": Wrapper(
            does="Has cells that are alike attend as one (Bolya & Hoffman 2023).",
            uses=("merge_tokens",),
            on=_merging,
        ),
        "alternate": Wrapper(
            spare=_alternated,
            does="Computes what guidance leads away from now and then (Lv et al. 2024).",
            uses=("base_every", "base_below"),
            check=_spared,
        ),
        "forecast": Wrapper(
            spare=_forecast,
            does="Computes some steps, and forecasts the others (Liu et al. 2025).",
            uses=("forecast", "forecast_order"),
        ),
        "cfg++": Wrapper(
            wrap=_plusplus,
            does="Noises each step's picture by what the unguided estimate takes for noise (Chung et al. 2024).",
            uses=("cfgpp",),
            check=_one_way,
        ),
        "cfg-zero*": Wrapper(
            wrap=lambda guided, at, request: zero_star(
                guided, at.points, request.guidance.zero_star, request.guidance.zero_steps
            ),
            does="Fits the length of the estimate that guidance counts from, and waits at first (Fan et al. 2025).",
            uses=("zero_star", "zero_steps"),
        ),
        "apg": Wrapper(
            wrap=lambda guided, at, request: projected(
                guided, request.guidance.apg, request.guidance.apg_momentum, request.guidance.apg_norm
            ),
            does="Takes out what guidance adds along the estimate itself (Sadat et al. 2024).",
            uses=("apg", "apg_momentum", "apg_norm"),
        ),
        "pag": Wrapper(
            wrap=_perturbed,
            does="Leads away from what is painted when cells do not see each other (Ahn et al. 2024).",
            uses=("pag", "pag_layers"),
            on=_perturbing,
        ),
        "dynamic": Wrapper(
            wrap=lambda guided, at, request: dynamic(guided, request.guidance.dynamic, request.guidance.dynamic_bound),
            does="Draws back into the usual range what high scales drive out of it (Saharia et al. 2022).",
            uses=("dynamic", "dynamic_bound"),
        ),
        "rescale": Wrapper(
            wrap=lambda guided, at, request: guide.rescaled(guided, request.guidance.rescale),
            does="Takes back what guidance adds to the contrast (Lin et al. 2023).",
            uses=("rescale",),
        ),
        "interval": Wrapper(
            wrap=lambda guided, at, request: guide.interval(guided, at(1.0), *request.guidance.interval),
            does="Guides only within an interval of times (Kynkäänniemi et al. 2024).",
            uses=("interval",),
        ),
    },
    kind="painting.guidance:Wrapper",
    columns={"fields": lambda row: ", ".join(f"`{name}`" for name in row.uses), "what it does": lambda row: row.does},
)


def guided(request: Resolved, at: At) -> Denoise:
    """The estimate that is followed: that of the request's scale, through every wrapper."""
    wrappers = GUIDANCE.usable().values()
    for wrapper in wrappers:
        at = wrapper.spare(at, request)
    estimate = at(request.guidance.scale)
    for wrapper in wrappers:
        estimate = wrapper.wrap(estimate, at, request)
    return estimate
