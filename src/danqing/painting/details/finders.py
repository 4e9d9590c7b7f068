"""What finds things in a picture: one explicit table, `FINDERS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from ...tables import Table
from ..painter import Painter

Box = tuple[int, int, int, int]


class Found(NamedTuple):
    """One thing that was found.

    Args:
        box: (left, upper, right, lower) in pixels, within the picture.
        sure: how sure that is, 0 .. 1.
        label: what it is.
        mask: its outline, L of the picture's size; None for all of the box.
    """

    box: Box
    sure: float
    label: str
    mask: Image.Image | None = None


#: A picture, RGB -> what is found in it.
Find = Callable[[Image.Image], list[Found]]


@dataclass(frozen=True, kw_only=True)
class Finder:
    """A way to find things: a row of `FINDERS`.

    Args:
        knows: whether what is looked for is its own to find.
        make: (what is looked for, what will paint it) -> what finds it. What cannot be looked for it refuses by a
            DanqingError.
        does: in a sentence.
    """

    knows: Callable[[str], bool]
    make: Callable[[str, Painter], Find]
    does: str


#: Words are looked for where no other row knows what is.
FINDERS: Table[Finder] = Table(
    "finder",
    {
        "face": "painting.details.faces:FACE",
        "file": "painting.details.files:FILE",
        "word": "painting.details.words:WORD",
    },
    kind="painting.details.finders:Finder",
    columns={"what it finds": lambda row: row.does},
)


def finder(what: str, painter: Painter) -> Find:
    """What finds ``what`` in the pictures of a painter.

    Raises:
        DanqingError: it cannot be looked for.
    """
    rows = FINDERS.usable().values()
    row = next((row for row in rows if row.knows(what)), FINDERS["word"])
    return row.make(what, painter)


def within(box: tuple[float, ...], size: tuple[int, int]) -> Box:
    """A box in whole pixels, within a picture of this size."""
    left, upper, right, lower = (
        min(max(round(value), 0), most) for value, most in zip(box, (*size, *size), strict=True)
    )
    return left, upper, right, lower
