"""The command line, made from `Request`: every field is an option, its help the field's own.

torch is loaded by the first command that paints, so help and refusals come at once.
"""

from __future__ import annotations

import io
import os
import sys
from functools import partial

import click

from ..errors import DanqingError, InvalidFile, InvalidInput
from ..lang.spoken import chosen, speaking
from ..run.pages import keep
from ..version import __version__
from .commands.compare import compare
from .commands.doctor import doctor
from .commands.evaluate import evaluate
from .commands.finishing import enlarge, faces, finish, tone
from .commands.generators import interpolate, reconstruct, translate
from .commands.grid import grid
from .commands.hints import hint
from .commands.merging import merge
from .commands.models import convert, inspect, models, pull
from .commands.outpaint import outpaint
from .commands.painting import edit, paint, replay
from .commands.sheet import sheet
from .commands.telling import tell
from .commands.words import words
from .learn.group import learn
from .options import Group, plain_warnings
from .screen import INTERRUPTED, echo


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
danqing paint "a red fox, 3d style"             a new picture, in this folder
danqing edit fox.png "a blue fox"               another one, from that
danqing edit fox.png "a hat" --mask mask.png    only where the mask is white
danqing interpolate fox.png cat.png --grid      the way from one picture to another
danqing grid "a fox" --x steps=10,20 --y seed=1..3   along axes, on a labelled sheet
danqing enlarge photo.jpg -o large/             four times larger, and sharp
danqing replay fox.png                          the same again, from its own record
danqing words fox; danqing words styles         what the model knows
danqing pull sdxl; danqing models               more models, and what is there
danqing paint --help                            every option, with examples
""",
)
@click.version_option(__version__, prog_name="danqing")
@click.option("-v", "--verbose", is_flag=True, help="Say which files are opened, and the seconds of each stage.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors: no bar, no warnings.")
@click.pass_context
def danqing(ctx: click.Context, verbose: bool, quiet: bool) -> None:
    """丹青 danqing: paint pictures from words, offline, on your own machine."""
    if verbose:
        from ..log import heard

        ctx.with_resource(heard(partial(echo, err=True)))


for command in (
    paint,
    edit,
    outpaint,
    sheet,
    grid,
    reconstruct,
    translate,
    interpolate,
    enlarge,
    faces,
    tone,
    finish,
    hint,
    replay,
    words,
    tell,
    models,
    pull,
    convert,
    merge,
    inspect,
    compare,
    evaluate,
    doctor,
    learn,
):
    danqing.add_command(command)


def main(args: list[str] | None = None) -> None:
    """The entry point, in the language that is chosen. Exit codes: 0 done, 2 bad input, 1 anything else, 130
    interrupted."""
    with speaking(chosen(sys.argv[1:] if args is None else args)):
        run(args)


def run(args: list[str] | None) -> None:
    # Threads that spin while they wait for each other slow small layers tenfold where anything else runs; read when
    # torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep()
    for stream in (sys.stdout, sys.stderr):  # a name of a file need not be Unicode, and a terminal not UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with plain_warnings():
            danqing.main(args, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (InvalidInput, InvalidFile) as error:
        echo(f"danqing: {error}", err=True)
        sys.exit(2)
    except DanqingError as error:
        echo(f"danqing: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        echo(INTERRUPTED, err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # standard output itself may be a full disk
        echo(f"danqing: {error}", err=True)
        sys.exit(1)
