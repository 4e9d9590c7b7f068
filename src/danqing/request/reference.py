"""What a picture looks at while it is painted: `Reference`, a given picture whose features it may take.

A record is text, ``fox.png,fidelity=0.5,to=0.8``, or JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import translate
from .groups import Share, Source
from .written import TIMES, several

WRITTEN = "PICTURE[,weight=,fidelity=,from=,to=]"
SETTING = re.compile(r"\s*(?P<name>[a-z]+)\s*=(?P<value>[^=]*)")
WHERE = "reference: "


class Reference(BaseModel):
    """A picture that another looks at. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    image: Annotated[Source, StringConstraints(min_length=1)] = Field(
        description="The picture to look at.", examples=["fox.png"]
    )
    weight: Share = Field(default=1.0, description="The part of the attentions that look at it: 0 none, 1 all.")
    fidelity: Share = Field(
        default=0.5, description="How far the negative prompt's half of guidance does not look: 1 is truest to it."
    )
    start: Share = Field(default=0.0, description="The part of the steps after which it begins to count.")
    end: Share = Field(default=1.0, description="The part of the steps after which it no longer counts.")

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                if any(found["type"] == "missing" for found in errors):
                    raise InvalidInput(f"reference: its image was not given; it is written {WRITTEN}") from None
                raise translate(errors, type(self).model_fields, "parameter of a reference", where=WHERE) from None

    def model_post_init(self, context: Any, /) -> None:
        if self.start >= self.end:
            given = f"reference: from {self.start:g} to {self.end:g} was given"
            raise InvalidInput(f"{given}; possible are two parts of the steps, the first before: from=0.2,to=0.8")


#: What a text may state beside the picture.
SETTINGS = tuple(field for field in Reference.model_fields if field != "image")


def references(given: object) -> object:
    """References as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `Reference`.
    """
    return several(given, Reference, _written)


def _written(text: str) -> dict[str, Any]:
    """``PICTURE[,NAME=VALUE…]`` as fields. Read from the end, for a picture's name may have commas."""
    parts, found = text.split(","), dict[str, Any]()
    while len(parts) > 1 and (setting := SETTING.fullmatch(parts[-1])):
        field = TIMES.get(setting["name"], setting["name"])
        if field not in SETTINGS:
            raise UnknownName("parameter of a reference", setting["name"], (*TIMES, *SETTINGS))
        if field in found:
            raise InvalidInput(f"reference: {setting['name']} was given twice: give it once")
        found[field] = setting["value"].strip()
        parts.pop()
    image = ",".join(parts).strip()
    if not image:
        raise InvalidInput(
            f"reference: no picture was given; it is written {WRITTEN}, for example fox.png,fidelity=0.5"
        )
    return {"image": image, **found}
