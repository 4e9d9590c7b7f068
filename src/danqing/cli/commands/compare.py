"""``danqing compare``: models side by side on the same art."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidFile
from ...lang.spoken import said, term
from .. import completion
from ..options import Examples, computing
from ..screen import echo, leaving, say, screen

if TYPE_CHECKING:
    from ...measure.bench import Row


@click.command(
    "compare",
    cls=Examples,
    short_help="Measure models side by side on the same art.",
    epilog="""
danqing compare vae pixelcnn ddpm --art heldout/ --trained-on art/ -o comparison/
danqing compare vae stylegan2 --art portraits/ --count 100 --minutes 5
danqing compare vae ddpm --art heldout/ --json
""",
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=completion.models)
@click.option(
    "--art",
    metavar="FOLDER",
    shell_complete=completion.files,
    required=True,
    help="Pictures that no model was trained on; its subfolders are classes.",
)
@click.option(
    "--trained-on",
    "known",
    metavar="FOLDER",
    shell_complete=completion.files,
    default=None,
    help="Those that they were trained on, laid out alike.",
)
@click.option("--count", metavar="N", type=int, default=500, show_default=True, help="How many pictures each paints.")
@click.option(
    "--size",
    metavar="N",
    type=int,
    default=None,
    help="In pixels: 8, 16, 32 or 64; that of the smallest model when not given.",
)
@click.option(
    "--minutes", metavar="X", type=click.FloatRange(min=0), default=math.inf, help="How long a model may paint."
)
@click.option(
    "--truncation",
    metavar="X",
    type=float,
    default=None,
    help="Of the models that have one: 1 is all of their variety.",
)
@click.option("--scale", metavar="X", type=float, default=None, help="Guidance of the models that have one: 1 is none.")
@computing
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each, as soon as it is measured.")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    shell_complete=completion.files,
    default=None,
    help="Where to write compare.md and the contact sheet compare.png.",
)
def compare(
    models: tuple[str, ...],
    art: str,
    known: str | None,
    count: int,
    size: int | None,
    minutes: float,
    truncation: float | None,
    scale: float | None,
    device: str | None,
    as_json: bool,
    output: str | None,
) -> None:
    """Have each MODEL paint as many pictures of the same classes, and hold them against the art in the folder --art.

    A model that knows words or classes is asked for the names of the subfolders, in the art's proportions; any other
    just draws. What one does not paint in --minutes is left out, and the table says of how many pictures its numbers
    are. Every model paints with its own defaults; --truncation 1 and --scale 1 compare what they have learned instead,
    for both trade variety for looks.
    """
    folder = None if output is None else _made(output)
    rows: list[Row] = []
    with screen(quiet=as_json) as show:
        show.waiting("loading")
        with leaving(show):
            from ...measure import compare as comparing
            from ...measure import table
            from ...measure.bench import Row
            from ...pictures import encode, files
        where, trained = Path(os.path.expanduser(art)), Path(os.path.expanduser(known)) if known else None
        stated = {name: value for name, value in (("truncation", truncation), ("scale", scale)) if value is not None}
        options: dict[str, Any] = dict(
            known=trained, count=count, size=size, minutes=minutes, device=device, stated=stated
        )
        for told in comparing.compare(models, where, **options):
            if isinstance(told, Row):
                rows.append(told)
                if as_json:
                    say(table.plain(told))
            elif show.progress is not None:
                show.progress.update(show.task, description=term(told.what), completed=told.done, total=told.of)
    if folder is not None:
        files.put(folder / "compare.md", table.markdown(rows).encode(), overwrite=True)
        files.put(folder / "compare.png", encode.to_bytes(table.sheet(rows), {"format": "PNG"}), overwrite=True)
    if not as_json:
        _print(rows)


def _made(output: str) -> Path:
    folder = Path(os.path.expanduser(output))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidFile(
            f"cannot make the folder {folder}: {error.strerror or error}. Choose another with -o"
        ) from None
    return folder


def _print(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ...measure import table

    shown = Table("", *(row.name for row in rows))  # a model a column: there are fewer of them than measures
    for title, cell in list(table.COLUMNS.items())[1:]:
        shown.add_row(term(title), *map(cell, rows))
    Console(width=None if sys.stdout.isatty() else 240).print(shown)  # where no one looks, nothing is cut to fit
    for note in table.notes(rows):
        echo(f"- {said(note)}")
    for claim in table.CLAIMS:
        figures, verdict = claim.verdict(rows)
        echo(f"{said(claim.said)}: {term(verdict)}" + (f", {said(figures)}" if figures else ""))
