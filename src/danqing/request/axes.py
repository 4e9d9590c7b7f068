"""The axes of a grid: any field of a request, or a word of the prompt, over several values.

``steps=10,20,30``, ``seed=1..4``, ``scale=2..8:2``, ``"prompt=a fox,an owl"`` with quotes around a value that holds a
comma, and ``replace=fox,owl,cat``: the first word of the prompts as it is, then each of the others in its place.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

from ..errors import InvalidInput, UnknownName
from .request import fields
from .spellings import OPTIONS

#: The axis that exchanges words of the prompts, and the fields that hold them.
REPLACE, PROMPTS = "replace", ("prompt", "negative")
#: Fields that no axis can be.
FIXED = frozenset({"recipe", "index", "finish"})
#: As many values an axis has at most.
MOST = 10_000
_NUMBER = r"-?\d{1,18}(?:\.\d{1,9})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")


@dataclass(frozen=True)
class Axis:
    """A field of a request, by its flat name, or `REPLACE`, and its values as they are typed."""

    name: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """An axis from ``name=value,value``.

        Raises:
            InvalidInput: no name or no values, or a range that never ends; UnknownName: no such field.
        """
        said, equals, rest = text.partition("=")
        name = said.strip().replace("-", "_")
        name = OPTIONS.get(name, name)
        possible = [REPLACE, *sorted(fields().keys() - FIXED)]
        if not equals:
            raise InvalidInput(f"the axis {text[:80]!r} names no values: write it as steps=10,20,30 or seed=1..4")
        if name not in possible:
            raise UnknownName("axis", said.strip(), possible)
        try:
            row = next(csv.reader([rest], skipinitialspace=True, strict=True), list[str]())
        except csv.Error as error:
            raise InvalidInput(f"the values of the axis {name} cannot be read: {error}") from None
        values = [each for value in row if value.strip() for each in _ranged(value.strip())]
        if not values:
            raise InvalidInput(f"the axis {name} has no values: write it as {name}=1,2,3")
        if len(values) > MOST:
            raise InvalidInput(f"the axis {name} has {len(values)} values; possible are at most {MOST}")
        return cls(name, tuple(dict.fromkeys(values)))

    @property
    def labels(self) -> list[str]:
        """What each value is called on a sheet."""
        return [value if self.name in ("", REPLACE, *PROMPTS) else f"{self.name} {value}" for value in self.values]

    def applied(self, options: Mapping[str, Any], value: str) -> dict[str, Any]:
        """Options with this value on the axis.

        Raises:
            InvalidInput: what is to be replaced stands in no prompt.
        """
        if self.name != REPLACE:
            return {**options, self.name: value} if self.name else dict(options)
        first = self.values[0]
        if not any(first in str(options.get(name) or "") for name in PROMPTS):
            raise InvalidInput(
                f"the axis {REPLACE} looks for {first!r}, its first value, which stands in no prompt: name a word that "
                "does"
            )
        return {**options, **{n: options[n].replace(first, value) for n in PROMPTS if options.get(n)}}


#: An axis of one value that says nothing.
NOTHING = Axis("", ("",))


@dataclass(frozen=True)
class Cell:
    """One picture of a grid: where it stands on each axis, and the options of its request."""

    values: tuple[str, ...]
    options: Mapping[str, Any]


def cells(axes: Sequence[Axis], options: Mapping[str, Any]) -> Iterator[Cell]:
    """Every picture, the first axis fastest.

    Raises:
        InvalidInput: two axes are of one field.
    """
    names = [axis.name for axis in axes if axis.name]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInput(f"two axes are {twice}: join their values in one")
    for slowest in product(*(axis.values for axis in reversed(axes))):
        values, each = slowest[::-1], dict(options)
        for axis, value in zip(axes, values, strict=True):
            each = axis.applied(each, value)
        yield Cell(values, each)


def count(axes: Sequence[Axis]) -> int:
    """How many pictures there are."""
    return math.prod(len(axis.values) for axis in axes)


def _ranged(value: str) -> Iterator[str]:
    """The numbers of ``1..4`` or ``2..8:2``, both ends included; any other value as it is."""
    if (found := _RANGE.fullmatch(value)) is None:
        yield value
        return
    first, last = Decimal(found[1]), Decimal(found[2])
    step = Decimal(found[3]) if found[3] else Decimal(1 if last >= first else -1)
    if not step or (last - first) / step < 0 or (last - first) / step >= MOST:
        raise InvalidInput(f"the range {value} has no end within {MOST} values: write it as 1..4, or 2..8:2 in steps")
    for i in range(int((last - first) / step) + 1):
        yield f"{(first + i * step).normalize():f}"
