"""``danqing learn``: the group, a row for each of its commands; a Python file in a command's place is run."""

from __future__ import annotations

import click

from ..options import Group
from .adapter import COMMANDS as ADAPTERS
from .folder import folder
from .run import run

COMMANDS = (folder, *ADAPTERS, run)


class Learn(Group):
    """Takes ``danqing learn FILE.py`` as ``danqing learn run FILE.py``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bare = args and args[0] not in self.commands and any(word.endswith(".py") for word in args)
        return super().parse_args(ctx, ["run", *args] if bare else args)


@click.group(
    "learn",
    cls=Learn,
    short_help="Train a model: on your own pictures, or as a file says.",
    epilog="""
danqing learn folder photos                         a model of the pictures in photos/
danqing learn folder photos --family biggan         of another family
danqing learn folder --help                         which there are
danqing learn lora inks                             a LoRA of the pictures in inks/, for the default model
danqing learn run experiments/x.py --settings       what an experiment of your own lets set
danqing learn experiments/x.py                      the same as danqing learn run experiments/x.py
""",
)
def learn() -> None:
    """Train a model, or what attaches to one: on a folder of your own pictures, or as a Python file says.

    Stop it by Ctrl-C, or kill it: the same command goes on from the last checkpoint, and the final weights are bit for
    bit those of an unbroken run.
    """


for command in COMMANDS:
    learn.add_command(command)
