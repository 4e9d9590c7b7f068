"""A text that also says what it places where, for a painter that drafts thing by thing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from torch import Tensor

from ..errors import InvalidInput
from ..nets.drafted import Scene
from ..types import Conditioning
from .encode import Encoded
from .grammar import Piece, Plan, Run, Tag, Term, Weighted
from .scenes import SCALES, Thing, things
from .towers import Around

#: How many things a conditioning has room for.
ROOM = len(SCALES)


@dataclass(frozen=True, kw_only=True)
class PlacedText(Around):
    """A `Text` whose conditionings hold the summaries of the things that are placed, ``extra["things"]`` (1, K, P), and
    where they are, ``extra["places"]`` (1, K, 3), as `danqing.nets.drafted.Scene` has them.

    Where no prompt of a picture places anything, it is the text within.
    """

    def condition(
        self, plans: Sequence[Plan], *, skip: int, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Encode the prompts of one picture."""
        condition = partial(self.text.condition, skip=skip, weighting=weighting)
        prompts = condition(plans, applied=applied)
        scenes = [things(plain(term.text)) for plan in plans for run in plan.runs for term in run.terms]
        said = tuple(dict.fromkeys(thing.text for scene in scenes for thing in scene))
        if not said:
            return prompts
        alone = condition([saying(text) for text in said])
        heard = {text: next(encoded.conditionings).pooled for text, encoded in zip(said, alone, strict=True)}
        whole = (cond for encoded in prompts for cond in encoded.conditionings)
        laid = iter([placed(cond, scene, heard) for cond, scene in zip(whole, scenes, strict=True)])
        return tuple(encoded.map(lambda _: next(laid)) for encoded in prompts)


def placed(cond: Conditioning, scene: Sequence[Thing], heard: Mapping[str, Tensor | None]) -> Conditioning:
    """A conditioning with a scene, of which each text's summary (1, P) is given."""
    if cond.pooled is None:
        raise InvalidInput("things are placed by summaries of their texts, and this text has none")
    summaries = cond.pooled.new_zeros(1, ROOM, cond.pooled.shape[-1])
    places = cond.pooled.new_zeros(1, ROOM, 3)
    for i, thing in enumerate(scene):
        summaries[:, i] = cast(Tensor, heard[thing.text])
        places[0, i] = places.new_tensor(thing[1:])
    return replace(cond, extra={**cond.extra, **Scene(summaries, places)._asdict()})


def plain(text: Weighted) -> str:
    """What is said, without weights."""
    return " ".join("".join(piece.text for piece in part) for part in text)


def saying(text: str) -> Plan:
    """A plan of one step that says a text."""
    return Plan(steps=1, runs=(Run(1, 1, (Term(((Piece(text, 1.0),),), 1.0),)),))
