"""What a part of a picture is told: `Region`, a place, given as a rectangle or as a drawn mask, and words of its own.

A record is text, ``left: a red fox`` or ``0.5,0,1,1,weight=0.8,negative=blue: a cat``, or JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import Domain, translate
from .groups import Share, Source
from .written import several

Box = tuple[Share, Share, Share, Share]
#: What of the picture the model sees while it paints a region: the region's own box, or all.
View = Literal["box", "whole"]
WRITTEN = "PLACE[,weight=,negative=,soft=,view=]: TEXT"
#: Rectangles by name: left, upper, right, lower, in parts of the picture.
PLACES: Mapping[str, tuple[float, float, float, float]] = {
    "left": (0, 0, 0.5, 1),
    "right": (0.5, 0, 1, 1),
    "top": (0, 0, 1, 0.5),
    "bottom": (0, 0.5, 1, 1),
    "middle": (0.25, 0.25, 0.75, 0.75),
    "top-left": (0, 0, 0.5, 0.5),
    "top-right": (0.5, 0, 1, 0.5),
    "bottom-left": (0, 0.5, 0.5, 1),
    "bottom-right": (0.5, 0.5, 1, 1),
    "whole": (0, 0, 1, 1),
}
#: What a text may state of a region beside its place and its words.
SETTINGS = ("weight", "negative", "soft", "view")
_SETTING = re.compile(r",\s*([a-z]+)\s*=")
_NUMBERS = re.compile(r"\s*[0-9.]+\s*(,\s*[0-9.]+\s*){3}(?=[,:])")
#: The colon before the words: none of a disk's or of a data: URI's.
_COLON = re.compile(r"(?<!^data)(?<!^[A-Za-z])[:：]|(?<=^[A-Za-z])[:：](?![\\/])")
WHERE = "region: "


class Region(BaseModel):
    """A part of a picture with words of its own. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(default="", max_length=1_000_000, description="What to paint there.", examples=["a red fox"])
    negative: str | None = Field(
        default=None,
        max_length=1_000_000,
        description="What to keep away from there; that of the picture if not given.",
    )
    box: Annotated[Box | None, Domain(lambda: "four parts of the picture from 0 to 1: left, upper, right, lower")] = (
        Field(default=None, description="Where: left, upper, right, lower, in parts of the picture.")
    )
    mask: Source = Field(default="", description="Where instead: white wholly, black not at all.")
    weight: float = Field(
        default=1.0, ge=0, le=100, description="How much it counts against the picture and other regions; 0 not at all."
    )
    soft: Share = Field(
        default=0.0625, description="How wide the rim is in which a rectangle goes over, in parts of the picture."
    )
    view: View = Field(default="box", description="What the model sees while it paints there: its box alone, or all.")

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                raise translate(errors, type(self).model_fields, "parameter of a region", _field, WHERE) from None

    def model_post_init(self, context: Any, /) -> None:
        if (self.box is None) == (not self.mask):
            said = "neither a box nor a mask was given" if self.box is None else "a box and a mask were given"
            raise InvalidInput(f"region: {said}; possible is one of them: it is written {WRITTEN}")
        if self.box and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise InvalidInput(
                f"region: the box {self.box} was given; possible are left, upper, right, lower, the first two "
                "below the others, as 0, 0, 0.5, 1 for the left half"
            )


def _field(loc: tuple[int | str, ...]) -> str:
    return str(loc[0]) if loc else ""


def regions(given: object) -> object:
    """Regions as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `Region`.
    """
    return several(given, Region, _written)


def _written(text: str) -> dict[str, Any]:
    """``PLACE[,NAME=VALUE…]: TEXT`` as fields: the place and its settings end at the first colon."""
    numbers = _NUMBERS.match(text)
    colon = _COLON.search(text, numbers.end() if numbers else 0)
    if colon is None or not text[: colon.start()].strip():
        raise InvalidInput(
            f"region: {text[:100]!r} was given; it is written {WRITTEN}, for example left: a red fox, or "
            "0.5,0,1,1: a cat, or mask.png: a tree"
        )
    place, *settings = _SETTING.split(text[: colon.start()])
    found: dict[str, Any] = {"prompt": text[colon.end() :].strip()}
    for name, value in zip(settings[::2], settings[1::2], strict=True):
        if name not in SETTINGS:
            raise UnknownName("parameter of a region", name, SETTINGS)
        if name in found:
            raise InvalidInput(f"region: {name} was given twice: give it once")
        found[name] = value.strip()
    place = place.strip()
    if numbers:
        return {**found, "box": tuple(part.strip() for part in place.split(","))}
    return {**found, **({"box": PLACES[place]} if place in PLACES else {"mask": place})}
