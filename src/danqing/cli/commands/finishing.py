"""The commands that finish given pictures: larger, with their faces restored, in other tones. The pictures themselves
stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from ...lang.spoken import said
from ..completion import files, finishers, finishes
from ..options import Examples, Rows, fields, placed, several
from ..screen import echo
from .painting import paint_each

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

#: What every command here is given.
given = click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=files)


def named(name: str) -> dict[str, Any]:
    """The parameters of a finish that are options, with their fields."""
    from ...finish.records import FINISHES
    from ...inputs.records import parameters

    return {field: info for field, info in parameters(FINISHES[name]).items() if field != "precision"}


def parameters(name: str) -> Callable[[Any], Any]:
    """One option for each parameter of a finish; values go to its record as typed, which alone judges them."""

    def option(field: str, info: FieldInfo) -> click.Option:
        usual = "" if info.default is None else f" {info.default} where none is given."
        complete = finishers if field == "model" else None
        help = f"{said(info.description)}{said(usual)}"
        return click.Option([f"--{field}"], default=None, metavar="X", help=help, shell_complete=complete)

    return several(lambda: [option(field, info) for field, info in named(name).items()])


def alone(name: str, images: Sequence[str], options: dict[str, Any], pattern: str) -> None:
    """`touched_up` by one finish, whose parameters are taken out of the options."""
    touched_up(images, [{"name": name, **{field: options.pop(field) for field in named(name)}}], options, pattern)


def touched_up(
    images: Sequence[str], chain: Sequence[Mapping[str, Any]], options: dict[str, Any], pattern: str
) -> None:
    """Do to each picture what the chain says: finishes by their parameters, of which those that are None are left
    out."""
    done(
        images,
        [{key: value for key, value in record.items() if value is not None} for record in chain],
        options,
        pattern,
    )


def done(images: Sequence[str], chain: object, options: dict[str, Any], pattern: str) -> None:
    """Do to each picture what a chain of finishes says, in any of its forms."""
    from ...pictures import paths

    told = partial(echo, err=True)
    each = [{"recipe": "finish", "image": str(path), "finish": chain} for path in paths.pictures(images, told)]
    paint_each(each, {**options, "model": "none"}, pattern=pattern)


class EveryFinish(Rows):
    """Lists the finishes and their parameters in its help."""

    def rows(self) -> Mapping[str, Any]:
        from ...finish.records import FINISHES

        return FINISHES.usable()


@click.command(
    "finish",
    cls=EveryFinish,
    short_help="Do to pictures what a chain of finishes says.",
    epilog="""
danqing finish enlarge:scale=2,tone fox.png
danqing finish "white-balance:method=grey-world,clahe:clip=3" holiday/ -o better/
""",
)
@click.argument("chain", metavar="CHAIN", shell_complete=finishes)
@given
@fields("precision")
@placed
def finish(chain: str, images: tuple[str, ...], **options: Any) -> None:
    """Do to each IMAGE what CHAIN says: finishes in their order, NAME:PARAMETER=VALUE:..., between commas."""
    done(images, chain, options, "{image}-finished.png")


@click.command(
    "enlarge",
    cls=Examples,
    short_help="Make pictures larger, and sharp.",
    epilog="""
danqing enlarge fox.png
danqing enlarge fox.png --scale 2 -o fox-256.png
danqing enlarge photo.jpg --model realesrgan-x4plus      pip install 'danqing[realesrgan]'
danqing enlarge holiday/ -o large/                       all pictures of a folder
danqing enlarge "scans/*.tif" --model 4x-UltraSharp.pth --tile 256
""",
)
@given
@parameters("enlarge")
@fields("precision")
@placed
def enlarge(images: tuple[str, ...], **options: Any) -> None:
    """Make each IMAGE larger by a network: a picture, a folder of pictures or a pattern such as "*.png".

    danqing-x4 knows drawings, and realesrgan-x4plus photographs; any file of ESRGAN, Real-ESRGAN or its compact
    networks will do.
    """
    alone("enlarge", images, options, "{image}-large.png")


@click.command(
    "faces",
    cls=Examples,
    short_help="Restore the faces in pictures.",
    epilog="""
danqing faces portrait.png
danqing faces portrait.png --strength 0.5
danqing faces family.jpg --model GFPGANv1.4.pth --find photographed      pip install 'danqing[faces]'
""",
)
@given
@parameters("faces")
@fields("precision")
@placed
def faces(images: tuple[str, ...], **options: Any) -> None:
    """Restore the faces in each IMAGE: a picture, a folder of pictures or a pattern such as "*.png".

    danqing-faces knows drawn portraits that fill their picture; for photographs name a file of GFPGAN.
    """
    alone("faces", images, options, "{image}-faces.png")


@click.command(
    "tone",
    cls=Examples,
    short_help="Balance the colours and the contrast of pictures.",
    epilog="""
danqing tone dull.jpg                              local contrast, as --clahe 2
danqing tone yellow.jpg --white-balance grey-world
danqing tone scan.png --black 0.05 --white 0.95 --gamma 1.1
danqing tone fox.png --saturation 1.3 --point 0.25,0.2 --point 0.75,0.8
""",
)
@given
@click.option(
    "--white-balance", metavar="NAME", default=None, help="What is taken for grey: grey-world, or white-patch."
)
@click.option("--exposure", metavar="X", default=None, help="In stops: 1 doubles the light.")
@click.option("--saturation", metavar="X", default=None, help="0 grey, 1 as it is.")
@click.option("--black", metavar="X", default=None, help="What becomes the darkest, 0 to 1.")
@click.option("--white", metavar="X", default=None, help="What becomes the lightest, 0 to 1.")
@click.option("--gamma", metavar="X", default=None, help="Above 1 lightens the middle.")
@click.option(
    "--point", "points", metavar="X,Y", multiple=True, help="Of the curve from 0,0 to 1,1; repeat it for several."
)
@click.option(
    "--clahe",
    metavar="X",
    default=None,
    help="How steep contrast may become within a part of the picture; 1 changes nothing.",
)
@placed
def tone(
    images: tuple[str, ...], points: tuple[str, ...], white_balance: str | None, clahe: str | None, **options: Any
) -> None:
    """Balance each IMAGE: a picture, a folder of pictures or a pattern such as "*.png".

    What is asked for is done in the order of the options here. Where nothing is asked for, local contrast is raised.
    """
    adjust = {name: options.pop(name) for name in ("exposure", "saturation")}
    levels = {name: options.pop(name) for name in ("black", "white", "gamma")}
    curve = {"points": [(0, 0), *map(_point, points), (1, 1)] if points else None}
    asked = {
        "white-balance": {"method": white_balance},
        "adjust": adjust,
        "levels": levels,
        "curves": curve,
        "clahe": {"clip": clahe},
    }
    chain = [
        {"name": name, **said} for name, said in asked.items() if any(value is not None for value in said.values())
    ]
    touched_up(images, chain or [{"name": "tone"}], options, "{image}-tone.png")


def _point(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    if len(found) != 2:
        raise InvalidInput(f"point: {text!r} was given; possible are two numbers from 0 to 1, for example 0.5,0.6")
    return found
