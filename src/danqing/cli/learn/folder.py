"""``danqing learn folder``: train a family's network on a folder of one's own pictures, in a folder that it resumes
from, and write the model.

torch is loaded once the folder is known to hold pictures, so help and refusals come at once.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ...errors import UnknownName
from ...teach.table import TRAINABLE
from ..completion import files, names
from ..options import Examples, several
from ..screen import echo
from .training import equipped, settable, told, trained


def _family() -> list[click.Option]:
    rows = "; ".join(f"{name}: {row.paints}" for name, row in TRAINABLE.usable().items())
    return [
        click.Option(
            ["--family"],
            metavar="NAME",
            default="vae",
            show_default=True,
            shell_complete=names(lambda: TRAINABLE),
            help=f"What learns. {rows}.",
        )
    ]


@click.command(
    "folder",
    cls=Examples,
    short_help="Train a model on a folder of your own pictures.",
    epilog="""
danqing learn folder photos                                  a VAE of them; the last line says how to paint with it
danqing learn folder animals --family biggan                 animals/cat/ and animals/dog/ are classes
danqing learn folder photos --family ddpm --minutes 60       the same command again goes on from there
danqing learn folder photos --set size=32 --set steps=500    smaller and sooner
danqing learn folder photos --settings                       what can be set, and to what it is set
danqing learn folder photos --export mine                    write the model that there is by now, and train nothing
""",
)
@click.argument("pictures", shell_complete=files)
@several(_family)
@settable
@click.option(
    "--out",
    metavar="FOLDER",
    shell_complete=files,
    default=None,
    help="Where checkpoints, samples and the model go; runs/ and the names of PICTURES and family else.",
)
def folder(
    pictures: str,
    family: str,
    changes: tuple[str, ...],
    out: str | None,
    minutes: float,
    exported: str | None,
    listed: bool,
) -> None:
    """Train the network of a family on the folder PICTURES, with all that lies in it at any depth; its sub-folders
    are the classes, where the family paints "of a class".

    A sheet of samples shows pictures of the folder, and below what the network painted before and after. At the end the
    folder --out holds the last sheet, before-and-after.png, and the model, model/.
    """
    if family not in TRAINABLE:
        raise UnknownName("family", family, TRAINABLE)
    source, row = Path(pictures).expanduser(), TRAINABLE[family]
    if not listed:
        from ...teach.found import found

        if not exported:
            equipped()
        found(source, family, row.least)
    from ...learn.training.experiment import overridden

    experiment = overridden(row.made()(folder=source), changes)
    if listed:
        told(experiment)
        return
    from ...learn.training.export import export
    from ...teach.own import folder_name

    home = Path(out) if out else Path("runs") / f"{folder_name(source)}-{family}"
    model = Path(exported) if exported else home / "model"
    if exported or trained(experiment, home, minutes):
        command = shlex.join(["danqing", "learn", "folder", pictures, "--family", family, "--out", str(home)])
        run = export(experiment, home, model, command)
        experiment.samples(run).save(home / "before-and-after.png")
        echo(f"{home / 'before-and-after.png'} shows before and after; paint with what it has learned:")
        first, second = (shlex.quote(str(file)) for file in experiment.own.files[:2])
        kind = shlex.quote(experiment.own.names[0])
        for line in row.uses:
            echo(line.format(model=shlex.quote(str(model)), kind=kind, first=first, second=second))
