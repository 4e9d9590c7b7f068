"""``danqing learn``: run the experiment that a file defines, in a folder that it resumes from.

torch is loaded by the training itself, so help comes at once.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ...errors import InvalidInput
from ..completion import files
from ..screen import echo

EXAMPLES = """
danqing learn experiments/x.py --settings           what can be set, and to what it is set
danqing learn experiments/x.py --set steps=100 --set rate=1e-3
danqing learn experiments/x.py --out runs/second    each folder holds one run; the same command resumes it
danqing learn experiments/x.py --export x           write the model that runs/x has learned, and train nothing
torchrun --nproc-per-node 2 -m danqing learn experiments/x.py
tensorboard --logdir runs
"""


@click.argument("file", shell_complete=files)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting of the experiment; repeat it for more.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    shell_complete=files,
    default=None,
    help="Where checkpoints, log and samples go; runs/ and FILE's name else.",
)
@click.option("--minutes", metavar="X", type=float, default=math.inf, help="Stop after so long, as if interrupted.")
@click.option(
    "--export",
    "exported",
    metavar="FOLDER",
    shell_complete=files,
    default=None,
    help="Write what the last checkpoint holds; train nothing.",
)
@click.option("--settings", "listed", is_flag=True, help="List the settings and train nothing.")
def learn(
    file: str, changes: tuple[str, ...], out: str | None, minutes: float, exported: str | None, listed: bool
) -> None:
    """Run the training that FILE defines, a Python file; `danqing.learn.training.experiment` says how it is written.

    Stop it by Ctrl-C, or kill it: the same command goes on from the last checkpoint, and the final weights are bit for
    bit those of an unbroken run.
    """
    if listed:
        from ...learn.training.experiment import load, overridden, settings

        for name, value in settings(overridden(load(Path(file))(), changes)).items():
            echo(f"{name}={'none' if value is None else value}")
        return
    home = Path(out) if out else Path("runs") / Path(file).stem
    if exported:
        from ...learn.training.export import export

        export(Path(file), changes, home, Path(exported))
        echo(f"{exported} holds what {home} has learned")
        return
    from ...learn.training import parallel

    try:
        with parallel.together():
            train(Path(file), changes, home, minutes)
    except KeyboardInterrupt:
        echo("danqing: interrupted; the same command goes on from here", err=True)
        sys.exit(130)


def train(file: Path, changes: Sequence[str], out: Path, minutes: float = math.inf) -> None:
    """Run an experiment to its end, or for so many minutes.

    Raises:
        InvalidInput: a setting that is not there or not possible, or the libraries of trainings are missing.
        InvalidFile, Diverged: as `danqing.learn.training.drive.drive` does.
    """
    missing = [name for name in ("matplotlib", "tensorboardX") if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInput(f"trainings draw and log with {' and '.join(missing)}: pip install 'danqing[train]'")
    from ...learn.training.drive import drive
    from ...learn.training.experiment import load, overridden, settings

    experiment = overridden(load(file)(), changes)
    run = experiment.training()
    run.settings = settings(experiment, fixed=True)
    drive(
        run,
        out,
        experiment.steps,
        minutes=minutes,
        save_every=experiment.save_every,
        log_every=experiment.log_every,
        sample_every=experiment.sample_every,
        sample=lambda: experiment.samples(run),
        evaluate_every=experiment.evaluate_every,
        evaluate=lambda: experiment.evaluate(run),
        tensorboard=True,
    )
