"""What a picture looks at while it is painted: `Reference`, a given picture whose features it may take.

A record is text, ``fox.png,fidelity=0.5,to=0.8``, or JSON.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from .groups import Share, Source
from .written import Shown, Words, several, shown

WRITTEN = "PICTURE[,weight=,fidelity=,from=,to=]"


class Reference(Shown):
    """A picture that another looks at. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    words: ClassVar = Words(
        "parameter of a reference",
        where="reference: ",
        missing=f"reference: its image was not given; it is written {WRITTEN}",
        backwards=lambda start, end: f"reference: from {start:g} to {end:g} was given",
    )

    image: Annotated[Source, StringConstraints(min_length=1)] = Field(
        description="The picture to look at.", examples=["fox.png"]
    )
    weight: Share = Field(default=1.0, description="The part of the attentions that look at it: 0 none, 1 all.")
    fidelity: Share = Field(
        default=0.5, description="How far the negative prompt's half of guidance does not look: 1 is truest to it."
    )
    start: Share = Field(default=0.0, description="The part of the steps after which it begins to count.")
    end: Share = Field(default=1.0, description="The part of the steps after which it no longer counts.")


def references(given: object) -> object:
    """References as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `Reference`.
    """
    written = partial(
        shown,
        kind=Reference,
        empty=f"reference: no picture was given; it is written {WRITTEN}, for example fox.png,fidelity=0.5",
        twice=lambda name: f"reference: {name} was given twice: give it once",
    )
    return several(given, Reference, written)
