"""``danqing learn run``: run the experiment that a file defines, in a folder that it resumes from.

torch is loaded by the training itself, so help comes at once.
"""

from __future__ import annotations

from pathlib import Path

import click

from ..completion import files
from ..options import Examples
from ..screen import echo
from .training import equipped, settable, told, trained


@click.command(
    "run",
    cls=Examples,
    short_help="Run the training that a Python file defines.",
    epilog="""
danqing learn run experiments/x.py --settings           what can be set, and to what it is set
danqing learn run experiments/x.py --set steps=100 --set rate=1e-3
danqing learn run experiments/x.py --out runs/second    each folder holds one run; the same command resumes it
danqing learn run experiments/x.py --export x           write the model that runs/x has learned, and train nothing
torchrun --nproc-per-node 2 -m danqing learn run experiments/x.py
tensorboard --logdir runs
""",
)
@click.argument("file", shell_complete=files)
@settable
@click.option(
    "--out",
    metavar="FOLDER",
    shell_complete=files,
    default=None,
    help="Where checkpoints, log and samples go; runs/ and FILE's name else.",
)
def run(
    file: str, changes: tuple[str, ...], out: str | None, minutes: float, exported: str | None, listed: bool
) -> None:
    """Run the training that FILE defines, a Python file; `danqing.learn.training.experiment` says how it is written.

    `run` may be left out before a FILE that ends in .py.
    """
    if not (listed or exported):
        equipped()
    from ...learn.training.experiment import load, overridden

    experiment, home = overridden(load(Path(file))(), changes), Path(out) if out else Path("runs") / Path(file).stem
    if listed:
        told(experiment)
    elif exported:
        from ...learn.training.export import export

        export(experiment, home, Path(exported), f"danqing learn run {file} --out {home}")
        echo(f"{exported} holds what {home} has learned")
    else:
        trained(experiment, home, minutes)
