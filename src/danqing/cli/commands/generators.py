"""The commands that paint given pictures anew, with models that paint without denoising."""

from __future__ import annotations

from typing import Any

import click

from ..completion import files
from ..options import Examples, fields, number, written
from .painting import paint_each


@click.command(
    "reconstruct",
    cls=Examples,
    short_help="Paint a picture as a model's latent has it.",
    epilog="""
danqing reconstruct fox.png
danqing reconstruct fox.png --model path/of/a/vae -o seen.png
""",
)
@click.argument("image", shell_complete=files)
@fields("model", "precision")
@written
def reconstruct(image: str, **options: Any) -> None:
    """Paint IMAGE as the latent of a model has it: what few numbers keep of a picture.

    The model is vae where none is named.
    """
    paint_each(
        [{"recipe": "reconstruct", "image": image}],
        {**options, "model": options["model"] or "vae"},
        pattern="{image}-{model}.png",
    )


@click.command(
    "translate",
    cls=Examples,
    short_help="Paint a picture in another style.",
    epilog="""
danqing translate fox.png --to fluent
danqing translate fox.png -o redrawn.png
danqing translate photo.jpg --width 128 --height 128
""",
)
@click.argument("image", shell_complete=files)
@fields("to", "width", "height", "model", "precision")
@written
def translate(image: str, **options: Any) -> None:
    """Paint IMAGE in the style --to, or in the first that the model knows.

    The model is cyclegan where none is named.
    """
    paint_each(
        [{"recipe": "translate", "image": image}],
        {**options, "model": options["model"] or "cyclegan"},
        pattern="{image}-{to}.png",
    )


@click.command(
    "interpolate",
    cls=Examples,
    short_help="Paint the way from one picture to another.",
    epilog="""
danqing interpolate fox.png cat.png --count 8 --grid
danqing paint --model stylegan2 --seed 1 --seed 2 -o "face-{seed}.png"
danqing interpolate face-1.png face-2.png --model stylegan2 -o way/
""",
)
@click.argument("image", shell_complete=files)
@click.argument("other", shell_complete=files)
@click.option("--count", metavar="N", default="8", help="How many pictures, the ends among them.", show_default=True)
@fields("model", "precision")
@written
def interpolate(image: str, other: str, count: str, **options: Any) -> None:
    """Paint the way from IMAGE to OTHER, in pictures at equal distances.

    The model is vae where none is named, which takes any pictures; stylegan2 and biggan take those that they painted
    themselves.
    """
    from ...request.request import spread

    each = [
        {"recipe": "interpolate", "image": image, "other": other, "between": t} for t in spread(number("count", count))
    ]
    paint_each(each, {**options, "model": options["model"] or "vae"}, pattern="{image}-{other}-{n}.png")
