"""What a picture says beside the words: `ImagePrompt`, a picture that another is to resemble, and the adapter that
reads it.

A record is text, ``fox.png:0.6,file=ip-adapter_sd15,to=0.5``, or JSON.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from ..errors import InvalidInput, UnknownName
from .groups import Share, Source
from .written import TIMES, Shown, Words, several

#: Which attentions of the UNet read the picture (Wang et al. 2024, InstantStyle).
Blocks = Literal["all", "style", "layout", "style+layout"]
#: How a picture that is no square becomes what an image tower sees: whole, its border going on, or its middle square.
Fit = Literal["whole", "crop"]
WRITTEN = "PICTURE[:WEIGHT][,file=,from=,to=,mask=,blocks=]"
SETTING = re.compile(r"\s*(?P<name>[a-z]+)\s*=(?P<value>.*)", re.DOTALL)
WEIGHT = re.compile(r"[+-]?[0-9.]{1,20}(e[+-]?[0-9]{1,3})?")


class ImagePrompt(Shown):
    """A picture that another is to resemble. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    words: ClassVar = Words(
        "parameter of an image prompt",
        where="image prompt: ",
        missing=f"image prompt: its image was not given; it is written {WRITTEN}",
        backwards=lambda start, end: f"image prompt: from {start:g} to {end:g} was given",
    )

    image: Annotated[Source, StringConstraints(min_length=1)] = Field(
        description="The picture to resemble.", examples=["fox.png"]
    )
    file: str = Field(default="", description="The adapter's name or file; the only one there where not given.")
    weight: float = Field(default=1.0, ge=0, le=10, description="How strongly it counts: 0 not at all, 1 as trained.")
    start: Share = Field(default=0.0, description="The part of the steps after which it begins to count.")
    end: Share = Field(default=1.0, description="The part of the steps after which it no longer counts.")
    mask: Source = Field(default="", description="Where it counts: white wholly, black not at all.")
    blocks: Blocks = Field(default="all", description="What of the picture counts.")
    negative: Source = Field(default="", description="A picture to keep away from.")
    fit: Fit = Field(default="whole", description="How a picture that is no square is seen.")
    tower: str = Field(default="", description="The image tower's name or file; one that fits where not given.")
    faces: str = Field(default="", description="The file of the recogniser of faces, for adapters that read faces.")


def image_prompts(given: object) -> object:
    """Image prompts as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `ImagePrompt`.
    """
    return several(given, ImagePrompt, _written)


def _written(text: str) -> dict[str, Any]:
    """``PICTURE[:WEIGHT][,NAME=VALUE…]`` as fields. Read from the end, for a picture's name may have commas."""
    parts, found = text.split(","), dict[str, Any]()
    while len(parts) > 1 and (setting := SETTING.fullmatch(parts[-1])):
        field = TIMES.get(setting["name"], setting["name"])
        if field not in ImagePrompt.settings():
            raise UnknownName(ImagePrompt.words.parameter, setting["name"], (*TIMES, *ImagePrompt.settings()))
        found.setdefault(field, setting["value"].strip())
        parts.pop()
    image = ",".join(parts).strip()
    before, colon, weight = image.rpartition(":")
    if colon and WEIGHT.fullmatch(weight):
        image = before.strip()
        found.setdefault("weight", weight)
    if not image:
        raise InvalidInput(f"image prompt: no picture was given; it is written {WRITTEN}, for example fox.png:0.6")
    return {"image": image, **found}
