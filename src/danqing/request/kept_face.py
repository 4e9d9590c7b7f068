"""Whose face a picture is to have: `KeptFace`, a given picture that shows it, and the adapter that keeps it.

A record is text, ``portrait.png,weight=0.8,to=0.9``, or JSON.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from .groups import Share, Source
from .written import Shown, Words, several, shown

#: What of a face and of the words counts more.
Mode = Literal["fidelity", "style"]
WRITTEN = "PICTURE[,weight=,place=,from=,to=,file=]"


class KeptFace(Shown):
    """A face that a picture is to have. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    words: ClassVar = Words(
        "parameter of a face",
        where="face: ",
        missing=f"face: its image was not given; it is written {WRITTEN}",
        backwards=lambda start, end: f"face: from {start:g} to {end:g} was given",
    )

    image: Annotated[Source, StringConstraints(min_length=1)] = Field(
        description="The picture that shows the face.", examples=["portrait.png"]
    )
    weight: float = Field(default=0.8, ge=0, le=10, description="How strongly its features are kept: 0 not at all.")
    place: float = Field(
        default=0.8, ge=0, le=10, description="How strongly its place and its turn are kept: 0 not at all."
    )
    start: Share = Field(default=0.0, description="The part of the steps after which it begins to count.")
    end: Share = Field(default=1.0, description="The part of the steps after which it no longer counts.")
    number: int = Field(
        default=0, ge=0, le=1000, description="Which of several faces, 1 the largest; that one where not given."
    )
    pose: Source = Field(default="", description="Another picture, whose largest face says place and turn.")
    file: str = Field(default="", description="The adapter's name or file; the only one there where not given.")
    control: str = Field(default="", description="The name or file of the network that reads place and turn.")
    recogniser: str = Field(default="", description="The file of the recogniser of faces.")
    tower: str = Field(default="", description="The name or file of the image tower that sees a face (PuLID).")
    mode: Mode = Field(default="fidelity", description="What counts more, the face or the words' style (PuLID).")
    empty: int | None = Field(
        default=None, ge=0, le=80, description="How many empty tokens join a face's: the more, the freer (PuLID)."
    )


def faces(given: object) -> object:
    """Faces as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `KeptFace`.
    """
    written = partial(
        shown,
        kind=KeptFace,
        empty=f"face: no picture was given; it is written {WRITTEN}, for example portrait.png,weight=0.8",
        twice=lambda name: f"face: {name} was given twice: give it once",
    )
    return several(given, KeptFace, written)
