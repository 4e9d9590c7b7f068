"""What an evaluation says: as JSON, as a page to look at, as a table for a card."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ...pictures import encode, files
from .evaluate import EYE, Evaluation
from .intervals import Figure
from .measured import Shown

FILE, PAGE, SHEET = "evaluation.json", "index.html", "prompts.webp"
#: The side of a picture on the sheet, in pixels.
CELL = 96
#: What each figure is: its name for people, its unit, and how it is measured.
MEASURES: Mapping[str, tuple[str, str, str]] = {
    "subject": ("subject", "%", "held-out pairs: the judge's first guess is the subject"),
    "subject_in_five": ("subject in five", "%", "the subject is among its first five guesses"),
    "style": (
        "style",
        "%",
        "it looks most like the style asked for, one of seven: 3d and gradient are the same drawings",
    ),
    "colour": ("colour", "%", "a fifth of what is drawn has the colour asked for, measured pixel by pixel"),
    "two_objects": ("two objects", "%", "cut apart, each half shows its own thing among five guesses, on its own side"),
    "position": ("position", "%", "the halves fit as asked better than the other way around; by chance 50"),
    "count": ("count", "%", "as many things apart as asked for"),
    "chinese_gap": ("Chinese gap", "points", "subjects right in English less those in Chinese, of the same pairs"),
    "frechet": ("Fréchet distance", "", "to as many real held-out pictures; real: of other real ones to these"),
    "precision": ("precision", "%", "painted pictures within the manifold of real ones"),
    "recall": ("recall", "%", "real pictures within the manifold of painted ones"),
    "copies": ("copies", "%", "nearer to a picture trained on than 99 % of real held-out ones, unseen captions"),
    "copies_seen": ("copies of seen", "%", "the same of captions that were trained on"),
    "portraits": ("portraits", "%", "attributes that the judge sees as asked for"),
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: 2px 12px 2px 0; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.row { display: flex; gap: 6px; margin-bottom: 6px } figure { margin: 0; width: 88px }
figure img { width: 88px; height: 88px; display: block } figcaption { font-size: 10px; line-height: 1.2 }
"""


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cells(name: str, figure: Figure) -> tuple[str, ...]:
    """A row of the table: what, the value, its interval, that of real art, of how many pictures, how."""
    title, unit, how = MEASURES.get(name, (name, "%", ""))
    interval = f"{_number(figure.low)} – {_number(figure.high)}"
    return title, f"{_number(figure.value)} {unit}".strip(), interval, _number(figure.real), str(figure.count), how


HEAD = ("measure", "value", "95 % interval", "real art", "pictures", "what it is")


def markdown(found: Mapping[str, Any]) -> str:
    """The table of an evaluation.json, for cards and docs, with what a person saw."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [cells(name, Figure(**found[name])) for name in MEASURES if name in found]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([table, *_sentences(found)])


def _sentences(found: Mapping[str, Any]) -> list[str]:
    said = []
    if (eye := found.get("prompts")) is not None:
        total = sum(eye.values())
        said.append(
            f"Of the {total} fixed prompts, one try each and none left out, a person recognised {eye[EYE[0]]}, "
            f"{eye[EYE[1]]} once told what they are, and {eye[EYE[2]]} not."
        )
    if left := found.get("open_variance"):
        said.append(
            f"At pure noise the words leave {left['trained']:.3f} of the latents' variance open on pairs that were "
            f"trained on and {left['heldout']:.3f} on held-out ones."
        )
    return said


def html(evaluation: Evaluation) -> str:
    """A page in one file, with its pictures."""
    found = evaluation.plain()
    head = "".join(f"<th>{escape(title)}</th>" for title in HEAD)
    rows = [cells(name, figure) for name, figure in evaluation.figures.items()]
    rows += [cells(f"… {part}", figure) for of in evaluation.details.values() for part, figure in of.items()]
    table = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    sheets = "".join(
        f"<h2>{escape(title)}</h2>" + "".join(f'<div class="row">{"".join(map(_figure, line))}</div>' for line in lines)
        for title, lines in evaluation.shown.items()
    )
    about = ", ".join(f"{key} {value}" for key, value in evaluation.about.items())
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in _sentences(found))
    title = f"{evaluation.about['model']}, measured"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p><table><tr>{head}</tr>{table}</table>{said}{sheets}</html>\n"
    )


def _figure(shown: Shown) -> str:
    picture = base64.b64encode(encode.to_bytes(_image(shown.pixels), {"format": "PNG"})).decode()
    words = escape(shown.words)
    return f'<figure><img src="data:image/png;base64,{picture}" alt="{words}"><figcaption>{words}</figcaption></figure>'


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.movedim(0, -1).contiguous().numpy())


def sheet(lines: Sequence[Sequence[Shown]]) -> Image.Image:
    """The pictures of some rows on one, `CELL` px each, without words."""
    made = Image.new("RGB", (max(map(len, lines)) * CELL, len(lines) * CELL), "white")
    for y, line in enumerate(lines):
        for x, shown in enumerate(line):
            made.paste(_image(shown.pixels).resize((CELL, CELL), Image.Resampling.LANCZOS), (x * CELL, y * CELL))
    return made


def write_figures(evaluation: Evaluation, folder: Path) -> None:
    """`FILE` in a folder.

    Raises:
        InvalidFile: the folder cannot be written.
    """
    text = json.dumps(evaluation.plain(), ensure_ascii=False, indent=2) + "\n"
    files.put(folder / FILE, text.encode(), overwrite=True)


def write(evaluation: Evaluation, folder: Path) -> Path:
    """`FILE`, `PAGE` and `SHEET` in a folder; the path of the page.

    Raises:
        InvalidFile: the folder cannot be written.
    """
    write_figures(evaluation, folder)
    first = next(iter(evaluation.shown.values()))
    files.put(folder / SHEET, encode.to_bytes(sheet(first), {"format": "WEBP", "quality": 85}), overwrite=True)
    files.put(folder / PAGE, html(evaluation).encode(), overwrite=True)
    return folder / PAGE
