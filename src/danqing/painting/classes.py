"""The classes that a model knows, by its description."""

from __future__ import annotations

from ..errors import InvalidFile, InvalidInput
from ..prompt.classes import Classes
from ..store.model import Model


def classes_of(model: Model, count: int) -> Classes | None:
    """The classes that a model's description names, of which there must be so many; None where it names none."""
    if model.text.get("kind") != "classes":
        return None
    try:
        classes = Classes(tuple(map(tuple, model.text["names"])))
    except (LookupError, TypeError, AttributeError, InvalidInput) as error:
        raise InvalidFile(f"{model.source}: its text should name classes, each by a list of names: {error}") from None
    if len(classes.names) != count:
        raise InvalidFile(f"{model.source} names {len(classes.names)} classes, and its {model.core} knows {count}")
    return classes
