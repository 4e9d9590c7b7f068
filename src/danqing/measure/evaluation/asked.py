"""What a painter is asked for: the same of every model, of a number of pictures in fixed parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..colours import NAMES, NEUTRAL
from .art import LANGUAGES, RELATIONS, Art, Row

#: Which part of all pictures each kind is. A pair is asked for in both languages.
PARTS = {"pair": 0.62, "scene": 0.1, "count": 0.05, "colour": 0.09, "portrait": 0.09, "seen": 0.05}
LEAST = 4
#: Colours that are asked for.
COLOURS = tuple(name for name in NAMES if name not in NEUTRAL)
#: Every so-manieth portrait is kept from the judge, for the ledger holds out none.
APART = 10
HELD_OUT = ("heldout_pair", "heldout_subject")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One picture that is asked for.

    Args:
        kind: one of `PARTS`: a "pair" of subject and style that was held out; a "scene" of two things and where they
            are; a "count" of things; a thing in a "colour"; a "portrait" by its attributes; a "seen" caption, of what
            was trained on.
        lang, prompt: in which language, and the words.
        row: the line of the ledger that says what must be there.
        real: that of the real picture beside it.
        colour: that is asked for.
    """

    kind: str
    lang: str
    prompt: str
    row: Row
    real: Row | None = None
    colour: str = ""


def asked(art: Art, pictures: int) -> list[Asked]:
    """So many pictures, or as many as the art gives reason to, kind after kind; the first of each kind are the same
    whatever the number."""
    made: list[Asked] = []
    for kind, part in PARTS.items():
        count = max(LEAST, round(pictures * part))
        made += KINDS[kind](art, count)
    return made


def drawn(rows: Sequence[Row], *key: str) -> list[Row]:
    """The rows in an order of their own."""
    return random.Random("/".join(key)).sample(rows, len(rows))


def _pairs(art: Art, count: int) -> list[Asked]:
    rows = drawn(art.of("singles", *HELD_OUT), "pair")[: (count + 1) // 2]
    return [
        Asked(kind="pair", lang=lang, prompt=art.single(row, lang), row=row, real=row)
        for lang in LANGUAGES
        for row in rows
    ]


def _seen(art: Art, count: int) -> list[Asked]:
    rows = drawn(art.of("singles", "train"), "seen")[:count]
    return [Asked(kind="seen", lang="en", prompt=art.single(row, "en"), row=row, real=row) for row in rows]


def _scenes(art: Art, count: int) -> list[Asked]:
    """Two things of pictures that were put together; where none of these is held out, the second things change places,
    so that no caption was trained on."""
    rows = [row for row in art.of("composites") if len(row["pieces"]) == 2 and row["relation"] in RELATIONS]
    apart = [row for row in rows if row["split"] != "train"]
    real = drawn(apart or rows, "scene")[:count]
    shifted = real if apart else _exchanged(real)
    return [
        Asked(kind="scene", lang="en", prompt=art.scene(row, "en"), row=row, real=own)
        for row, own in zip(shifted, real, strict=True)
    ]


def _exchanged(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with the second thing of the next one of its style."""
    by: dict[str, list[Row]] = {}
    for row in rows:
        by.setdefault(row["style"], []).append(row)
    after = {id(row): some[(i + 1) % len(some)] for some in by.values() for i, row in enumerate(some)}
    return [{**row, "pieces": [row["pieces"][0], after[id(row)]["pieces"][1]]} for row in rows]


def _counts(art: Art, count: int) -> list[Asked]:
    rows = [
        row for row in art.of("composites") if len(row["pieces"]) > 1 and row["relation"] not in ("front", "behind")
    ]
    apart = [row for row in rows if row["split"] != "train"] or [row for row in rows if row.get("same")] or rows
    return [
        Asked(kind="count", lang="en", prompt=art.several(row, "en"), row=row, real=row)
        for row in drawn(apart, "count")[:count]
    ]


def _colours(art: Art, count: int) -> list[Asked]:
    """Recoloured copies that are held out; where the ledger has none, things that are held out in any colour, and for
    the real score those whose name says one."""
    held = drawn(art.of("recoloured", *HELD_OUT), "colour")[:count]
    if held:
        said = [(row, next((c for c in row["colours"] if c in COLOURS), row["colours"][0]), row) for row in held]
    else:
        plain = [r for r in art.of("singles", *HELD_OUT) if r["group"] not in ("flags", "people-body", "symbols")]
        named = [r for r in art.of("singles") if r["label_en"].split()[0] in COLOURS]
        draw, real = random.Random("colours"), drawn(named, "real")
        rows = [row for row in drawn(plain, "colour") if not set(row["label_en"].split()) & set(NAMES)][:count]
        said = [(row, draw.choice(COLOURS), real[i % len(real)] if real else None) for i, row in enumerate(rows)]
    return [
        Asked(kind="colour", lang="en", prompt=art.single(row, "en", colour), row=row, real=real, colour=colour)
        for row, colour, real in said
    ]


def apart(row: Row) -> bool:
    """Whether a portrait is kept from the judge: one of `APART` of each set, for the sets take turns."""
    return row["index"] // APART % APART == 0


def _portraits(art: Art, count: int) -> list[Asked]:
    """Those that are held out, or else from the judge."""
    rows = art.of("portraits")
    held = [row for row in rows if row["split"] != "train"] or list(filter(apart, rows))
    return [
        Asked(kind="portrait", lang="en", prompt=art.portrait(row, "en"), row=row, real=row)
        for row in drawn(held, "portrait")[:count]
    ]


KINDS: dict[str, Callable[[Art, int], list[Asked]]] = {
    "pair": _pairs,
    "scene": _scenes,
    "count": _counts,
    "colour": _colours,
    "portrait": _portraits,
    "seen": _seen,
}
