"""The fields of pydantic's models in words: what each can be, and what was wrong with what was given."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..errors import InvalidInput, UnknownName


@dataclass(frozen=True, eq=False)
class Among:
    """A validator, `AfterValidator(Among("solver", SOLVERS))`: one of some names, which may become more.

    Args:
        what: is named.
        names: that are possible.
    """

    what: str
    names: Collection[str]

    def __call__(self, value: str) -> str:
        if value not in self.names:
            raise UnknownName(self.what, value, self.names)
        return value


@dataclass(frozen=True, eq=False)
class Domain:
    """Says in a field's metadata what it can be, where its type does not."""

    words: Callable[[], str]


def choices(info: FieldInfo) -> list[str]:
    """The names a field can take; empty when it is no choice."""
    for rule in _rules(info):
        if isinstance(names := getattr(rule, "func", None), Among):
            return list(names.names)
    return list(typing.get_args(kind(info))) if typing.get_origin(kind(info)) is Literal else []


def kind(info: FieldInfo) -> Any:
    """A field's type, without its None and what is said of it."""
    hint = info.annotation
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def domain(info: FieldInfo) -> str:
    """What a field can be, in words: "a whole number from 1 to 1000"."""
    if names := choices(info):
        return "one of " + ", ".join(names)
    for rule in _rules(info):
        if isinstance(rule, Domain):
            return rule.words()
    limits = {
        m: getattr(rule, m) for rule in _rules(info) for m in ("ge", "gt", "le", "lt", "max_length") if hasattr(rule, m)
    }
    nouns = {int: "a whole number", float: "a number", str: "any text", bool: "true or false"}
    noun = nouns.get(kind(info), "of another kind")
    if "max_length" in limits:
        return f"text of at most {limits['max_length']} characters"
    if "ge" not in limits:
        return noun
    highest = limits["lt"] - 1 if "lt" in limits else limits["le"]
    return f"{'a whole number' if kind(info) is int else 'a number'} from {limits['ge']} to {highest}"


def _rules(info: FieldInfo) -> list[Any]:
    """What bounds a field: its own metadata, and that of the annotated type which stands beside None."""
    beside = [a for a in typing.get_args(info.annotation) if typing.get_origin(a) is Annotated]
    every = [*info.metadata, *(rule for a in beside for rule in a.__metadata__)]
    return [rule for each in every for rule in (each.metadata if isinstance(each, FieldInfo) else [each])]


def translate(
    errors: Iterable[ErrorDetails],
    fields: Mapping[str, FieldInfo],
    what: str,
    named: Callable[[tuple[int | str, ...]], str] = lambda loc: str(loc[0]),
    where: str = "",
) -> InvalidInput:
    """Pydantic's findings as one danqing error: what was given, what is possible, what to do.

    Args:
        fields: by their names.
        what: an unknown field is: "option".
        named: pydantic's place of a finding -> the name of the field.
        where: stands before each finding.
    """
    causes = [_cause(found, fields, what, named(found["loc"] or ("",)), where) for found in errors]
    return causes[0] if len(causes) == 1 else InvalidInput("\n".join(map(str, causes)))


def _cause(found: ErrorDetails, fields: Mapping[str, FieldInfo], what: str, name: str, where: str) -> InvalidInput:
    given, cause = found["input"], found.get("ctx", {}).get("error")
    if found["type"] == "extra_forbidden":
        return UnknownName(what, name, fields)
    if found["type"] == "literal_error":
        return UnknownName(name, str(given), choices(fields[name]) if name in fields else ())
    if isinstance(cause, InvalidInput):
        return cause
    if name not in fields:  # a group, of which something else was given
        return InvalidInput(f"{name}: {repr(given)[:100]} was given; possible is a group of fields")
    info = fields[name]
    possible, shown = domain(info), repr(given)[:100]
    if found["type"] == "string_too_long":
        return InvalidInput(f"{where}{name}: {len(given)} characters were given; possible is {possible}: shorten it")
    if found["type"] == "string_unicode":
        return InvalidInput(f"{where}{name}: {shown} was given, which is not whole Unicode text: write it in UTF-8")
    return InvalidInput(
        f"{where}{name}: {shown} was given; possible is {possible}"
        f"{f', for example {info.examples[0]!r}' if info.examples else ''}"
    )
