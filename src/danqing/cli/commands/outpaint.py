"""``danqing outpaint``: what lies around a picture."""

from __future__ import annotations

from typing import Any

import click

from ..completion import files
from ..options import Examples, fields_but, outputs
from .painting import run

SIDES = ("left", "top", "right", "bottom")


def sides(command: Any) -> Any:
    for side in reversed(SIDES):
        command = click.option(
            f"--{side}", metavar="N", default="0", help=f"Pixels that the picture grows by: {side}."
        )(command)
    return command


@click.command(
    "outpaint",
    cls=Examples,
    short_help="Paint what lies around a picture.",
    epilog="""
danqing outpaint fox.png "a fox in a meadow" --left 128 --right 128
danqing outpaint fox.png --top 64 --mask-blur 8
""",
)
@click.argument("image", shell_complete=files)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@sides
@fields_but(
    "mask", "extend", "truncation", "mix", "mix_from", "to", "hires", "hires_steps", "hires_strength", "hires_by"
)
@outputs
def outpaint(image: str, prompts: tuple[str, ...], **options: Any) -> None:
    """Paint around IMAGE, which keeps its bytes; --mask-blur softens the rim of what is new.

    IMAGE is not changed: what is painted is a new file. An option that is not given has the model's own value.
    """
    extend = [options.pop(side) for side in SIDES]
    run("outpaint", [{"prompt": prompt} for prompt in prompts] or [{}], {**options, "image": image, "extend": extend})
