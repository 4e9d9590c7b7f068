"""What records of a request that people write as text, one or several, share: `Control`, `ImagePrompt`, `KeptFace`,
`Reference`, `Region`; and what the three that show the model a picture do (`Shown`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import translate

#: What texts call the two times of a record.
TIMES: Mapping[str, str] = {"from": "start", "to": "end"}


def several(given: object, kind: type[BaseModel], written: Callable[[str], dict[str, Any]]) -> object:
    """Records as people write them, one a text, or as records of JSON; what is neither stays as it is.

    Args:
        kind: of the records.
        written: the fields that a text states.

    Raises:
        UnknownName, InvalidInput: as the kind.
    """

    def one(each: object) -> object:
        if isinstance(each, str):
            return kind(**written(each))
        if isinstance(each, Mapping):
            return kind(**{str(key): value for key, value in cast("Mapping[Any, Any]", each).items()})
        return each

    if isinstance(given, list | tuple):
        return tuple(map(one, cast("list[object]", given)))
    return (one(cast("object", given)),) if isinstance(given, str | Mapping | kind) else given


@dataclass(frozen=True)
class Words:
    """What is said of a kind of `Shown`, each a whole message, for they are translated whole.

    Args:
        parameter: what an unknown one is.
        where: stands before what is wrong with a field.
        missing: its picture was not given.
        backwards: it begins to count at the one part of the steps and ends at the other.
    """

    parameter: str
    where: str
    missing: str
    backwards: Callable[[float, float], str]


class Shown(BaseModel):
    """A picture that the model is shown between two parts of the steps: fields ``image``, ``start`` and ``end``, and
    others. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    words: ClassVar[Words]

    if TYPE_CHECKING:
        start: float
        end: float
    else:

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                if any(found["type"] == "missing" for found in errors):
                    raise InvalidInput(self.words.missing) from None
                raise translate(errors, type(self).model_fields, self.words.parameter, where=self.words.where) from None

    def model_post_init(self, context: Any, /) -> None:
        if self.start >= self.end:
            given = self.words.backwards(self.start, self.end)
            raise InvalidInput(f"{given}; possible are two parts of the steps, the first before: from=0.2,to=0.8")

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """What a text may state beside the picture."""
        return tuple(field for field in cls.model_fields if field != "image")


_SETTING = re.compile(r"\s*(?P<name>[a-z]+)\s*=(?P<value>[^=]*)")


def shown(text: str, kind: type[Shown], empty: str, twice: Callable[[str], str]) -> dict[str, Any]:
    """``PICTURE[,NAME=VALUE…]`` as fields. Read from the end, for a picture's name may have commas.

    Args:
        empty: what is said where there is no picture.
        twice: and where a parameter stands there twice.

    Raises:
        UnknownName: such a parameter is not there. InvalidInput: one is given twice, or there is no picture.
    """
    parts, found = text.split(","), dict[str, Any]()
    while len(parts) > 1 and (setting := _SETTING.fullmatch(parts[-1])):
        field = TIMES.get(setting["name"], setting["name"])
        if field not in kind.settings():
            raise UnknownName(kind.words.parameter, setting["name"], (*TIMES, *kind.settings()))
        if field in found:
            raise InvalidInput(twice(setting["name"]))
        found[field] = setting["value"].strip()
        parts.pop()
    image = ",".join(parts).strip()
    if not image:
        raise InvalidInput(empty)
    return {"image": image, **found}
