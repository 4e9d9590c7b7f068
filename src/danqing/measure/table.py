"""What a comparison of models says: as a table, as a contact sheet, and as verdicts over what people say of the
families."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..pictures.sheet import contact
from . import features
from .bench import REAL, Row

#: By what part two models must differ for the difference to count: as much is chance, with some hundred pictures.
MARGIN = 0.1
#: How many pictures of each row the sheet shows, and how high and wide, in pixels.
SHOWN, CELL, GAP, BORDER = 12, 64, 2, 8


def _number(digits: int, unit: str = "") -> Callable[[Any], str]:
    return lambda value: "—" if value is None else f"{value:.{digits}f}{unit}"


def _bits(row: Row) -> str:
    return "—" if row.bits is None else f"{row.bits:.2f} ± {row.bits_error or 0:.2f}"


#: Title -> what a row says there.
COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "model": lambda row: row.name,
    "family": lambda row: row.kind if row.kind == REAL else f"{row.kind} ({row.family})",
    "px": lambda row: str(row.size),
    "pictures": lambda row: str(row.count),
    "Fréchet": lambda row: _number(2)(row.frechet),
    "its floor": lambda row: _number(2)(row.floor),
    "precision": lambda row: _number(2)(row.precision),
    "recall": lambda row: _number(2)(row.recall),
    "sharpness": lambda row: _number(2)(row.sharpness),
    "diversity": lambda row: _number(2)(row.diversity),
    "novelty": lambda row: _number(2)(row.novelty),
    "bits/dim": _bits,
    "s a picture": lambda row: _number(3)(row.seconds),
    "parameters": lambda row: "—" if row.parameters is None else f"{row.parameters / 1e6:.1f}M",
    "core-hours": lambda row: _number(1)(row.core_hours),
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What people say: that a kind of model has more, or less, of something than every other kind.

    Args:
        said: in words.
        kind: of which models.
        measure: a field of `Row`.
        more: whether they are to have more of it.
        equal: whether only rows of equally many pictures can be compared, for the measure depends on them.
    """

    said: str
    kind: str
    measure: str
    more: bool
    equal: bool = False

    def verdict(self, rows: Sequence[Row]) -> tuple[str, str]:
        """The figures of both sides, and "confirmed" where every pair of models is as said by more than `MARGIN`,
        "refuted" where every pair is the other way by as much; else how many are."""
        there = [row for row in rows if row.kind != REAL and getattr(row, self.measure) is not None]
        ours, others = [r for r in there if r.kind == self.kind], [r for r in there if r.kind != self.kind]
        pairs = [(a, b) for a in ours for b in others if a.count == b.count or not self.equal]
        if not pairs:
            return "", "not measured"
        values = [(getattr(a, self.measure), getattr(b, self.measure)) for a, b in pairs]
        more, less = (sum(x > (1 + MARGIN) * y for x, y in way) for way in (values, [(b, a) for a, b in values]))
        hold, against = (more, less) if self.more else (less, more)
        sides = (
            dict.fromkeys(f"{r.name} {getattr(r, self.measure):.3g}" for r in side) for side in zip(*pairs, strict=True)
        )
        figures = " against ".join(", ".join(side) for side in sides)
        if len(pairs) in (hold, against):
            return figures, "confirmed" if hold else "refuted"
        return figures, f"undecided: of {len(pairs)} pairs {hold} as said, {against} the other way"


CLAIMS = (
    Claim(said="GANs are fast (seconds a picture)", kind="GAN", measure="seconds", more=False),
    Claim(said="but less diverse (recall)", kind="GAN", measure="recall", more=False, equal=True),
    Claim(said="VAEs are blurry (sharpness)", kind="VAE", measure="sharpness", more=False),
    Claim(said="autoregression is slow (seconds a picture)", kind="autoregression", measure="seconds", more=True),
    Claim(said="diffusion is best (Fréchet distance)", kind="diffusion", measure="frechet", more=False, equal=True),
    Claim(said="but costly to paint (seconds a picture)", kind="diffusion", measure="seconds", more=True),
    Claim(said="and to train (core-hours)", kind="diffusion", measure="core_hours", more=True),
)


def plain(row: Row) -> dict[str, Any]:
    """The row as JSON, without its pictures."""
    return {each.name: getattr(row, each.name) for each in fields(row) if each.name != "pictures"}


def notes(rows: Sequence[Row]) -> list[str]:
    """What whoever reads the table should know."""
    size, most = rows[0].pictures.shape[-1], max(row.count for row in rows)
    said = [
        f"All pictures were compared at {size} px; larger ones are reduced by the means of blocks. Measured "
        f"are {features.WHOSE}.",
        "The Fréchet distance is biased upwards, the more the fewer pictures: each row has the floor of as "
        "many real ones beside it.",
        "Sharpness, diversity and novelty are in parts of the real art's own; of copies of the art trained "
        "on novelty would be 0.",
    ]
    if fewer := [f"{row.name} ({row.count})" for row in rows if row.count < most]:
        said.append(
            f"Of fewer pictures than {most}, and not to be compared with the others in what depends on them: "
            f"{', '.join(fewer)}."
        )
    if painted := [f"{row.name} ({row.settings})" for row in rows if row.settings]:
        said.append(f"Seeds count from 0, a picture each. Painted with {'; '.join(painted)}.")
    if machines := dict.fromkeys(row.machine for row in rows if row.machine):
        said.append(f"Seconds are the median of warm pictures, one at a time, on {'; '.join(machines)}.")
    said += [f"Bits of {row.name}: {row.bits_of}." for row in rows if row.bits_of]
    return said + [f"{row.name}: {warning}" for row in rows for warning in row.warnings]


def markdown(rows: Sequence[Row]) -> str:
    """The table, the verdicts and the notes."""
    lines = [tuple(COLUMNS), ("---",) * len(COLUMNS), *(tuple(say(row) for say in COLUMNS.values()) for row in rows)]
    claims = [
        ("what is said", "our figures", "verdict"),
        ("---",) * 3,
        *((claim.said, *claim.verdict(rows)) for claim in CLAIMS),
    ]
    tables = ["\n".join(f"| {' | '.join(line)} |" for line in table) for table in (lines, claims)]
    return "\n\n".join([tables[0], "\n".join(f"- {note}" for note in notes(rows)), tables[1]]) + "\n"


def sheet(rows: Sequence[Row]) -> Image.Image:
    """The first pictures of every row, the real art above, each row with its name; in a column the classes are the
    same."""
    font = ImageFont.load_default(14)
    names = max(int(font.getlength(row.name)) for row in rows) + 2 * BORDER
    columns = min(SHOWN, max(row.count for row in rows))
    blank = Image.new("RGB", (CELL, CELL), "white")
    rows_of_cells = (itertools.chain(_cells(row), itertools.repeat(blank)) for row in rows)
    cells = [cell for each in rows_of_cells for cell in itertools.islice(each, columns)]
    made = Image.new("RGB", (names + columns * (CELL + GAP), len(rows) * (CELL + GAP)), "white")
    made.paste(contact(cells, columns, GAP), (names - GAP, -GAP))  # no gap around the sheet
    draw = ImageDraw.Draw(made)
    for i, row in enumerate(rows):
        draw.text((BORDER, i * (CELL + GAP) + CELL // 2), row.name, "black", font, anchor="lm")
    return made


def _cells(row: Row) -> Iterator[Image.Image]:
    """The first pictures of a row, each as large as a cell."""
    for picture in np.asarray(row.pictures[:SHOWN].movedim(1, -1)):
        yield Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.NEAREST)
