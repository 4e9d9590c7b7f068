"""Whose face a picture is to have: `KeptFace`, a given picture that shows it, and the adapter that keeps it.

A record is text, ``portrait.png,weight=0.8,to=0.9``, or JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import translate
from .groups import Share, Source
from .written import TIMES, several

WRITTEN = "PICTURE[,weight=,place=,from=,to=,file=]"
SETTING = re.compile(r"\s*(?P<name>[a-z]+)\s*=(?P<value>[^=]*)")
WHERE = "face: "


class KeptFace(BaseModel):
    """A face that a picture is to have. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                if any(found["type"] == "missing" for found in errors):
                    raise InvalidInput(f"face: its image was not given; it is written {WRITTEN}") from None
                raise translate(errors, type(self).model_fields, "parameter of a face", where=WHERE) from None

    def model_post_init(self, context: Any, /) -> None:
        if self.start >= self.end:
            given = f"face: from {self.start:g} to {self.end:g} was given"
            raise InvalidInput(f"{given}; possible are two parts of the steps, the first before: from=0.2,to=0.8")


#: What a text may state beside the picture.
SETTINGS = tuple(field for field in KeptFace.model_fields if field != "image")


def faces(given: object) -> object:
    """Faces as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `KeptFace`.
    """
    return several(given, KeptFace, _written)


def _written(text: str) -> dict[str, Any]:
    """``PICTURE[,NAME=VALUE…]`` as fields. Read from the end, for a picture's name may have commas."""
    parts, found = text.split(","), dict[str, Any]()
    while len(parts) > 1 and (setting := SETTING.fullmatch(parts[-1])):
        field = TIMES.get(setting["name"], setting["name"])
        if field not in SETTINGS:
            raise UnknownName("parameter of a face", setting["name"], (*TIMES, *SETTINGS))
        if field in found:
            raise InvalidInput(f"face: {setting['name']} was given twice: give it once")
        found[field] = setting["value"].strip()
        parts.pop()
    image = ",".join(parts).strip()
    if not image:
        raise InvalidInput(f"face: no picture was given; it is written {WRITTEN}, for example portrait.png,weight=0.8")
    return {"image": image, **found}
