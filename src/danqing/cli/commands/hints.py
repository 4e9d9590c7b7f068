"""``danqing hint``: what a control network is shown, made from given pictures."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import DanqingError, InvalidInput
from ..completion import files, hints
from ..options import Rows, computing
from ..screen import echo, note, say

if TYPE_CHECKING:
    from ...hint.base import Hint

NAME = "{image}-{kind}.png"


class EveryHint(Rows):
    """Lists the hints and their parameters in its help."""

    def rows(self) -> Mapping[str, Any]:
        from ...hint.records import HINTS

        return HINTS.usable()


@click.command(
    "hint",
    cls=EveryHint,
    short_help="Make from pictures what control networks are shown.",
    epilog="""
danqing hint edges fox.png                                    fox-edges.png
danqing hint edges:low=50:high=120 fox.png -o edges.png
danqing hint line-art fox.png --width 768 --height 512        at the size that is painted; --mode fill cuts
danqing hint depth:model=depth_anything_v2_vits.pth photo.jpg
danqing hint pose:points=pose.json photo.jpg
danqing hint lineart_standard sketches/ -o hints/             A1111's names are understood
""",
)
@click.argument("kind", shell_complete=hints)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=files)
@click.option("--width", metavar="N", type=click.IntRange(1, 16384), default=None, help="Pixels; the picture's own.")
@click.option("--height", metavar="N", type=click.IntRange(1, 16384), default=None, help="Pixels; the picture's own.")
@click.option(
    "--mode",
    metavar="NAME",
    default="fit",
    show_default=True,
    help="Of another ratio: fit shows all of it, fill cuts what is too much, stretch keeps no ratio.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    default=None,
    shell_complete=files,
    help="A file (.png .jpg .webp), a folder, or a pattern of {image} {kind} {n}.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each hint on standard output.")
@click.option("--force", is_flag=True, help="Overwrite an existing file instead of numbering the new one.")
@computing
def hint(
    kind: str,
    images: tuple[str, ...],
    width: int | None,
    height: int | None,
    mode: str,
    output: str | None,
    as_json: bool,
    force: bool,
    device: str | None,
) -> None:
    """Make the hint KIND, NAME:PARAMETER=VALUE:..., of each IMAGE: what a control network is shown of it.

    It is made at the size wanted, so that lines are one pixel wide at every size.
    """  # fmt: skip
    from ...hint.fit import mode_of
    from ...hint.records import hint as named
    from ...inputs.records import name_of
    from ...pictures import encode, files, paths
    from .painting import Destination

    record = named(kind, lambda said: note(f"danqing: {said}"))
    how, where = mode_of(mode), Destination.of(output, NAME)
    if encode.format_of(Path(where.pattern)) == "SVG":
        raise InvalidInput(f"-o {output} was given; hints are pixels, and possible are .png, .webp and .jpg")
    failed, taken = False, set[Path]()
    for n, path in enumerate(paths.pictures(images, lambda said: note(f"danqing: {said}")), 1):
        try:
            drawn, warnings = _made(record, path, (width, height), how, device)
            values = {"image": files.stem(str(path)), "kind": name_of(type(record)), "n": n}
            name = where.folder / files.fill(where.pattern, values)
            encode.check_size(name, *drawn.size)
            data = encode.to_bytes(drawn, {"format": encode.format_of(name)})
            written = files.put(name, data, overwrite=force and name not in taken)
            taken.add(name)
        except DanqingError as error:
            failed = True
            echo(f"danqing: {error}", err=True)
            continue
        for said in warnings:
            note(f"danqing: {said}")
        if as_json:
            say({"file": str(written), "hint": record.model_dump(), "size": drawn.size, "warnings": warnings})
        else:
            echo(written)
    if failed:
        sys.exit(2)


def _made(record: Hint, path: Path, size: tuple[int | None, int | None], mode: Any, device: str | None) -> Any:
    """The hint of a picture's file, and what is to be said of it."""
    from ...painting.adapters.hinting import hinted
    from ...pictures import read

    picture, said = read.picture(str(path)), list[str]()
    width, height = size
    own = picture.width / picture.height  # of one side alone the other follows
    wanted = (width or round((height or picture.height) * own), height or round((width or picture.width) / own))
    drawn = hinted(picture, record, wanted if any(size) else None, mode, device=device, warn=said.append)
    return drawn, said
