"""What records of a request that people write as text, one or several, share: `Control`, `ImagePrompt`, `KeptFace`,
`Reference`, `Region`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import BaseModel

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
