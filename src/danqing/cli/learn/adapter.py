"""``danqing learn lora``, ``word``, ``control``: an adapter of a model learns a folder of one's own pictures, in a
folder that it resumes from.

torch is loaded once the folder is known to hold pictures, so help and refusals come at once.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import click

from ...store.shipped import DEFAULT
from ...teach.adapters.table import ADAPTERS, Teachable
from ..completion import files
from ..options import Examples
from ..screen import echo
from .training import equipped, settable, told, trained


def command(kind: str, row: Teachable) -> click.Command:
    """The command of a kind of adapter."""

    @click.command(
        kind,
        cls=Examples,
        short_help=row.does,
        epilog=row.epilog,
    )
    @click.argument("pictures", shell_complete=files)
    @click.option(
        "--model",
        metavar="NAME",
        default=DEFAULT,
        show_default=True,
        help="The model that it is for: name, folder, file.",
    )
    @settable
    @click.option(
        "--add", is_flag=True, help="Also copy the adapter's file into the folder of your models, where it has a name."
    )
    @click.option(
        "--out",
        metavar="FOLDER",
        shell_complete=files,
        default=None,
        help="Where checkpoints, samples and the adapter go; runs/ and the names of PICTURES and of the kind else.",
    )
    def learn(
        pictures: str,
        model: str,
        changes: tuple[str, ...],
        out: str | None,
        minutes: float,
        exported: str | None,
        listed: bool,
        add: bool,
    ) -> None:
        """Train an adapter on the folder PICTURES, with all that lies in it at any depth; the model itself stays as it
        is.

        What a picture shows stands in a .txt of its name beside it; what has none is called as the setting `caption`
        says, or as the folder. A sheet of samples shows pictures of the folder, and below what the model paints without
        the adapter and with it. At the end the folder --out holds the last sheet, before-and-after.png, and the
        adapter's file, which other programs read too.
        """
        from ...teach.found import found

        source = Path(pictures).expanduser()
        if not listed:
            if not exported:
                equipped()
            found(source, kind, row.least)
        from ...learn.training.experiment import overridden

        experiment = overridden(row.made()(folder=source, model=model), changes)
        if listed:
            told(experiment)
            return
        from ...teach.own import folder_name

        home = Path(out) if out else Path("runs") / f"{folder_name(source)}-{kind}"
        if exported or trained(experiment, home, minutes):
            again = shlex.join(["danqing", "learn", kind, pictures, "--model", model, "--out", str(home)])
            written(experiment, home, Path(exported) if exported else home, again, row, add)

    return learn


def written(experiment: Any, home: Path, folder: Path, again: str, row: Teachable, add: bool) -> None:
    """Write the adapter of a run and the last sheet, and say how to paint with it."""
    from ...learn.training.export import at_last
    from ...store import library

    run = at_last(experiment, home, again)
    folder.mkdir(parents=True, exist_ok=True)
    file = experiment.file(run, folder)
    experiment.samples(run).save(folder / "before-and-after.png")
    place = library.home(row.place)
    echo(f"{folder / 'before-and-after.png'} shows before and after; {file} is the adapter")
    if add:
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place / file.name)
    else:
        echo(
            f"its name is known once it lies among your models: cp {shlex.quote(str(file))} {shlex.quote(str(place))}/"
        )
    echo(row.uses.format(**experiment.usage(), file=shlex.quote(str(file))))


COMMANDS = tuple(command(kind, row) for kind, row in ADAPTERS.usable().items())
