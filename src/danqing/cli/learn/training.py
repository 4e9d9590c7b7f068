"""What every command that trains has: its options, what must be installed, and a run in its folder."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from ..completion import files
from ..screen import echo

if TYPE_CHECKING:
    from ...learn.training.experiment import Experiment


def settable(command: Any) -> Any:
    """The options of every command that trains."""
    for option in (
        click.option("--settings", "listed", is_flag=True, help="List the settings and train nothing."),
        click.option(
            "--export",
            "exported",
            metavar="FOLDER",
            shell_complete=files,
            default=None,
            help="Write what the last checkpoint holds; train nothing.",
        ),
        click.option(
            "--minutes", metavar="X", type=float, default=math.inf, help="Stop after so long, as if interrupted."
        ),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="NAME=VALUE",
            help="Change a setting of the training; repeat it for more.",
        ),
    ):
        command = option(command)
    return command


def told(experiment: Experiment) -> None:
    """The settings, a line each."""
    from ...learn.training.experiment import settings

    for name, value in settings(experiment).items():
        echo(f"{name}={'none' if value is None else value}")


def equipped() -> None:
    """Raises InvalidInput: the libraries of trainings are missing."""
    missing = [name for name in ("matplotlib", "tensorboardX") if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInput(f"trainings draw and log with {' and '.join(missing)}: pip install 'danqing[train]'")


def trained(experiment: Experiment, out: Path, minutes: float) -> bool:
    """Run an experiment in its folder to its end, or for so many minutes; whether this process is the first of those
    that do. Ctrl-C ends the command.

    Raises:
        InvalidInput, InvalidFile, Diverged: as `danqing.learn.training.drive.drive` does.
    """
    from ...learn.training import parallel
    from ...learn.training.drive import drive

    try:
        with parallel.together():
            run = experiment.training()
            run.settings = experiment.binding()
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
            return parallel.rank() == 0
    except KeyboardInterrupt:
        echo("danqing: interrupted; the same command goes on from here", err=True)
        sys.exit(130)
