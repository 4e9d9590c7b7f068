"""``danqing grid``: one request along up to three axes, each picture a file, and all of them on labelled sheets."""

from __future__ import annotations

import json
import math
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidFile, InvalidInput
from ...lang.spoken import said
from ..options import Examples, fields_but, placed
from ..screen import Screen, echo, note, screen
from .painting import Outcome, load

if TYPE_CHECKING:
    from ...painting.loaded import LoadedModel
    from ...pictures.picture import Picture
    from ...request.axes import Axis
    from ...request.request import Request, Resolved

#: More pictures than this are asked about first.
ASKED = 200
#: What a grid's folder says of itself.
PLAN = "grid.json"


@click.command(
    "grid",
    cls=Examples,
    short_help="Paint along axes: steps, solvers, words, seeds.",
    epilog="""
danqing grid "a fox" --x steps=10,20,30 --y solver=euler,dpmpp-2m -o steps/
danqing grid "a fox" --x seed=1..4 --y "replace=fox,owl,panda"   words exchanged: the first is looked for
danqing grid "a fox" --x scale=2..8:2 --y style=3d,flat --z steps=10,20
danqing grid "a fox" --x seed=1..9 --count-only                  how many, and how long
""",
)
@click.argument("prompt", default="")
@click.option("--x", "x", metavar="AXIS", required=True, help="Left to right: any field, NAME=A,B,C or NAME=1..4.")
@click.option("--y", "y", metavar="AXIS", default=None, help="From top to bottom.")
@click.option("--z", "z", metavar="AXIS", default=None, help="A sheet for each value.")
@click.option(
    "--seed", metavar="N", default=None, help="Where the noise starts, for all of them; drawn when not given."
)
@click.option("--count-only", is_flag=True, help="Say how many pictures it is and how long they take; paint none.")
@click.option("--no-sheet", is_flag=True, help="Write the pictures alone.")
@click.option("--yes", is_flag=True, help=f"Paint more than {ASKED} pictures without being asked.")
@fields_but("mask", "mask_blur", "extend", "strength", "image_scale", "to")
@placed
def grid(
    prompt: str,
    x: str,
    y: str | None,
    z: str | None,
    seed: str | None,
    count_only: bool,
    no_sheet: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Paint PROMPT along up to three axes: a file for each picture in the folder -o, and a labelled sheet of all.

    A grid that was stopped goes on where it was: the same command paints what is missing.
    """
    from ...painting.loaded import LoadedModel
    from ...pictures import files
    from ...request.axes import NOTHING, Axis, cells, count
    from ...request.request import Request, Resolved

    output, device = options.pop("output"), options.pop("device")
    force, as_json, svg = (options.pop(name) for name in ("force", "as_json", "svg"))
    axes = [NOTHING if text is None else Axis.parse(text) for text in (x, y, z)]
    if (many := count(axes)) > ASKED and not (count_only or yes):
        _ask(many)
    stated = {name: value for name, value in options.items() if value is not None}
    folder = Path(output or f"grid-{files.slug(prompt)}").expanduser()
    plan = Plan.of(folder, axes, {"prompt": prompt, **stated}, seed, force=force)
    every = list(cells(axes, plan.options))
    requests = [Request(recipe="text2image", **cell.options) for cell in every]  # each is judged before any is painted
    if count_only:
        echo(_estimate(requests, device))
        return
    plan.write()
    digits = len(str(many))
    paths = [folder / f"{n:0{digits}d}-{files.slug(' '.join(c.values))}.png" for n, c in enumerate(every, 1)]
    missing = [n for n, path in enumerate(paths) if force or not path.exists()]
    if len(missing) < many:
        note(f"{many - len(missing)} of {many} pictures are there already")
    with screen(quiet=as_json) as show:
        outcome = Outcome(show, force=force, svg=svg, as_json=as_json)
        order = sorted(missing, key=lambda n: _how(requests[n]))  # each model is loaded once
        for _, same in groupby(order, key=lambda n: _how(requests[n])):
            show.waiting("loading")
            ready = list[tuple[int, LoadedModel, Resolved]]()
            for n in same:
                with outcome.kept_going():
                    loaded = load(requests[n], device, show)
                    ready.append((n, loaded, loaded.resolve(requests[n])))
            for n, made in _made(show, ready):
                with outcome.kept_going():
                    outcome.write(made(), paths[n])
    if not no_sheet:
        for path in _sheets(folder, axes, requests, paths):
            echo(str(path), err=as_json)
    if outcome.code:
        sys.exit(outcome.code)


def _made(
    show: Screen, ready: Sequence[tuple[int, LoadedModel, Resolved]]
) -> Iterator[tuple[int, Callable[[], Picture]]]:
    """What gives each picture of one model's requests, with its number."""
    if ready:
        numbers, models, requests = zip(*ready, strict=True)
        yield from zip(numbers, show.several(models[0], requests, [None] * len(ready)), strict=True)


def _how(request: Request) -> str:
    """Equal for requests that one loaded model paints."""
    return repr((request.model, request.computed, request.override))


class Plan:
    """What a folder's grid is made of, so that the same command goes on and another is refused."""

    def __init__(self, path: Path, said: dict[str, Any]):
        self.path, self.said = path, said

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.said["options"])

    @classmethod
    def of(cls, folder: Path, axes: Sequence[Axis], options: dict[str, Any], seed: str | None, *, force: bool) -> Plan:
        """That of a folder.

        Raises:
            InvalidInput: it holds another grid, or is a file.
        """
        path = folder / PLAN
        if folder.exists() and not folder.is_dir():
            raise InvalidInput(f"-o {folder} is a file, and a grid writes many: name a folder")
        said = {"axes": [[axis.name, list(axis.values)] for axis in axes], "options": options}
        try:
            there = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            there = {}
        before = there.get("options", {}) if isinstance(there, dict) else {}
        drawn = before.get("seed") if seed is None else seed
        own = {**options, "seed": secrets.randbelow(2**32) if drawn is None else drawn}
        said = json.loads(json.dumps({**said, "options": own}))
        if there and there != said and not force:
            raise InvalidInput(
                f"{folder} holds another grid: choose another folder with -o, or --force to paint over it"
            )
        return cls(path, said)

    def write(self) -> None:
        from ...pictures import files

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidFile(
                f"cannot make the folder {self.path.parent}: {error.strerror or error}. Choose another with -o"
            ) from None
        files.put(self.path, json.dumps(self.said, ensure_ascii=False).encode(), overwrite=True)


def _ask(many: int) -> None:
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"{many:,} pictures are more than {ASKED}: --count-only says how long they take, --yes paints them"
        )
    click.confirm(said(f"paint {many:,} pictures?"), abort=True)


def _estimate(requests: Sequence[Request], device: str | None) -> str:
    """How many pictures and how long, by a step of the first that is taken for that."""
    with screen(quiet=True) as show:
        loaded = load(requests[0], device, show)
    first = loaded.resolve(requests[0])
    walk = loaded.states(first)
    next(walk)  # what is done once is done in it
    began = time.perf_counter()
    next(walk)
    each = (time.perf_counter() - began) * first.sampling.steps / _cost(first)
    seconds = sum(_cost(loaded.resolve(request)) for request in requests) * each
    return f"{len(requests):,} pictures, about {_spoken(seconds)} on this machine, without their finishes"


def _cost(request: Request) -> int:
    """What a picture costs, in calls of the network times pixels."""
    from ...solve.solvers import SOLVERS

    calls = SOLVERS[request.sampling.solver].looks * request.sampling.steps * (1 if request.guidance.scale == 1 else 2)
    return calls * request.width * request.height


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{math.ceil(seconds)} seconds"
    return f"{math.ceil(seconds / 60)} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _sheets(folder: Path, axes: Sequence[Axis], requests: Sequence[Request], paths: Sequence[Path]) -> Iterator[Path]:
    """Write a sheet for each value of the third axis, with the requests of all its pictures inside."""
    from PIL.PngImagePlugin import PngInfo

    from ...pictures import encode, files, read
    from ...pictures.grid import labelled
    from ...request.upgrade import VERSION

    across, down, deep = axes
    size = len(across.values) * len(down.values)
    for n, title in enumerate(deep.labels):
        place = slice(n * size, (n + 1) * size)
        images = [read.picture(path) if path.exists() else None for path in paths[place]]
        sheet, scale = labelled(images, across.labels, down.labels, title)
        if scale < 1:
            note(f"the sheet is shown at {scale:.0%}, for it would be larger than what is read; the files are whole")
        info = PngInfo()
        pairs = zip(paths[place], requests[place], strict=True)
        said = [{"file": path.name, "request": request.data()} for path, request in pairs]
        info.add_itxt("danqing", json.dumps({"danqing": VERSION, "grid": said}, ensure_ascii=False))
        name = f"grid-{n + 1}.png" if title else "grid.png"
        # Half of the time of the usual 6, for a file that is 4 % larger.
        drawn = encode.to_bytes(sheet, {"format": "PNG"}, pnginfo=info, compress_level=4)
        yield files.put(folder / name, drawn, overwrite=True)
