"""The wrappers that the guided estimate of a picture passes through: one explicit table, `GUIDANCE`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .. import guide
from ..request.request import Resolved
from ..tables import Table
from ..types import Denoise

#: (a scale, steps that say more) -> the estimate at that scale, which no wrapper has touched.
At = Callable[..., Denoise]


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """What is made of a guided estimate: a row of `GUIDANCE`.

    Args:
        wrap: (guided, at, request) -> the estimate that is followed; ``guided`` itself where the request asks for none.
            ``at(scale, *say)`` gives another estimate, at that scale and of what more steps say.
        does: in one sentence.
        uses: the fields of a request that it reads, by their flat names.
    """

    wrap: Callable[[Denoise, At, Resolved], Denoise]
    does: str
    uses: Collection[str] = ()


#: In the order in which they are applied.
GUIDANCE: Table[Wrapper] = Table(
    "guidance",
    {
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
    estimate = at(request.guidance.scale)
    for wrapper in GUIDANCE.usable().values():
        estimate = wrapper.wrap(estimate, at, request)
    return estimate
