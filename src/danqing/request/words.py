"""The fields of a record in words: what each can be, and what was wrong with what was given."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..errors import InvalidInput, UnknownName
from ..finish.records import FINISHES, SHORT
from . import flat
from .groups import GROUPS
from .names import CHOICES


def choices(name: str, info: FieldInfo) -> list[str]:
    """The names a field can take; empty when it is no choice."""
    if name in CHOICES:
        return list(CHOICES[name])
    return list(typing.get_args(kind(info))) if typing.get_origin(kind(info)) is Literal else []


def kind(info: FieldInfo) -> Any:
    """A field's type, without its None and what is said of it."""
    hint = info.annotation
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def domain(name: str, info: FieldInfo) -> str:
    """What a field can be, in words: "a whole number from 1 to 1000"."""
    if names := choices(name, info):
        return "one of " + ", ".join(names)
    if name == "extend":
        return "four whole numbers from 0 to 4096"
    if name == "finish":
        return f"a chain of {', '.join((*FINISHES, *SHORT))}"
    limits = {
        m: getattr(rule, m) for rule in _rules(info) for m in ("ge", "gt", "le", "lt", "max_length") if hasattr(rule, m)
    }
    noun = {int: "a whole number", float: "a number", str: "text"}.get(kind(info), "two numbers")
    if "max_length" in limits:
        return f"{noun} of at most {limits['max_length']} characters"
    if "lt" in limits:
        return f"{noun} from {limits['ge']} to {limits['lt'] - 1}"
    return f"{noun} from {limits['ge']} to {limits['le']}" if "ge" in limits else noun


def _rules(info: FieldInfo) -> list[Any]:
    """What bounds a field: its own metadata, and that of the annotated type which stands beside None."""
    beside = [a for a in typing.get_args(info.annotation) if typing.get_origin(a) is Annotated]
    return [*info.metadata, *(rule for a in beside for field in a.__metadata__ for rule in field.metadata)]


def translate(errors: list[ErrorDetails], fields: Mapping[str, FieldInfo]) -> InvalidInput:
    """Pydantic's findings as one danqing error: what was given, what is possible, what to do."""
    causes = [_cause(found, fields) for found in errors]
    return causes[0] if len(causes) == 1 else InvalidInput("\n".join(map(str, causes)))


def _cause(found: ErrorDetails, fields: Mapping[str, FieldInfo]) -> InvalidInput:
    name, given = _name(found["loc"]), found["input"]
    cause = found.get("ctx", {}).get("error")
    if found["type"] == "extra_forbidden":
        return UnknownName("option", name, fields)
    if found["type"] == "literal_error":
        return UnknownName(name, str(given), choices(name, fields[name]))
    if isinstance(cause, InvalidInput):
        return cause
    if name not in fields:  # a group, of which something else was given
        return InvalidInput(
            f"{name}: {repr(given)[:100]} was given; possible is a group of {', '.join(GROUPS[name].model_fields)}"
        )
    possible = domain(name, fields[name])
    if found["type"] == "string_too_long":
        return InvalidInput(f"{name}: {len(given)} characters were given; possible is {possible}: shorten it")
    if found["type"] == "string_unicode":
        what = f"{repr(given)[:100]} was given, which is not whole Unicode text"
        return InvalidInput(f"{name}: {what}: write it in UTF-8")
    hint = fields[name].examples
    example = f", for example {hint[0]!r}" if hint else ""
    return InvalidInput(f"{name}: {repr(given)[:100]} was given; possible is {possible}{example}")


def _name(loc: tuple[int | str, ...]) -> str:
    """The flat name of what pydantic found a fault in."""
    group, field, *_ = (*map(str, loc), "", "")
    return flat.NAMES.get((group, field), field or group) if group in GROUPS else group
