"""``danqing sheet``: a set of subjects in one style, each a file, and all on one sheet."""

from __future__ import annotations

import secrets
import sys
from typing import Any

import click

from ...errors import InvalidInput
from ..completion import files
from ..options import Examples, fields_but, number, placed, seen_through
from ..screen import echo
from .painting import Destination, attempt_each

NAME = "{prompt}.png"


@click.command(
    "sheet",
    cls=Examples,
    short_help="Paint a set of icons or stickers in one style.",
    epilog="""
danqing sheet fox cat owl bear --style "3d style" -o animals/
danqing sheet --from subjects.txt --style "flat style" --transparent --columns 6 --gap 32 -o icons/
danqing sheet 猫 狗 鸟 --style "3D风格" --seed 7 --svg -o set/
""",
)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    shell_complete=files,
    default=None,
    help="A text file with a prompt a line; empty lines and # are left out.",
)
@click.option("--style", metavar="TEXT", default="", help="What is added to every prompt; none adds nothing.")
@click.option(
    "--columns", metavar="N", default=None, help="Pictures in a row of the sheet; about as many as rows when not given."
)
@click.option(
    "--gap",
    metavar="N",
    type=click.IntRange(0, 4096),
    default=16,
    show_default=True,
    help="Pixels between and around pictures.",
)
@click.option(
    "--seed", metavar="N", default=None, help="Where the noise starts, for all of them; drawn when not given."
)
@seen_through
@fields_but("mask", "mask_blur", "extend", "strength", "image_scale", "to", "truncation", "mix", "mix_from", "style")
@placed
def sheet(
    prompts: tuple[str, ...],
    source: str | None,
    style: str,
    columns: str | None,
    gap: int,
    seed: str | None,
    **options: Any,
) -> None:
    """Paint each PROMPT in one style, from one seed: a file each in the folder -o, and sheet.png with all of them."""
    from ...pictures import paths, sheet

    wanted = [*prompts, *(paths.lines(source) if source else ())]
    if not wanted:
        raise InvalidInput(
            "a sheet needs subjects and none was given: name them, or a file with --from that holds one a line"
        )
    across = None if columns is None else number("columns", columns)
    where = Destination.of(options["output"], NAME)
    same = {"recipe": "text2image", "seed": secrets.randbelow(2**32) if seed is None else seed}
    stated = {"style": "none"} if style else {}
    added = "" if style == "none" else style
    said = [{**same, **stated, "prompt": ", ".join(filter(None, (prompt, added)))} for prompt in wanted]
    force, as_json = options["force"], options["as_json"]
    done, code = attempt_each(said, options, pattern=NAME)
    if done:
        place, images = where.folder / "sheet.png", [picture.image for picture in done]
        echo(str(sheet.write(images, place, columns=across, gap=gap, overwrite=force)), err=as_json)
    if code:
        sys.exit(code)
