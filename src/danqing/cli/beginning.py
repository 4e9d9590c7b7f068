"""What a request begins with before its own options: a picture's record, or options under a name, kept or ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ..errors import DanqingError
from ..request.fast import FAST
from .completion import files, presets
from .screen import note

#: Options of the commands that are no fields of a request.
APART = frozenset(
    {"output", "device", "seeds", "count", "as_json", "force", "preview", "grid", "svg", "transparent"}
) | {
    "best",
    "keep_all",
    "recipe",
}


def said(options: Mapping[str, Any]) -> str:
    """Options as they are typed."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())


def begun(command: Any) -> Any:
    """The options that say what a request begins with, which `started` takes away again."""
    for option in (
        click.option("--save-preset", metavar="NAME", default=None,
                     help="Keep these options under a name, for --preset."),
        click.option("--preset", metavar="NAME", default=None, shell_complete=presets,
                     help="Begin with the options kept under a name; what is said here counts before them."),
        click.option("--fast", is_flag=True,
                     help=f"Nearly the same picture sooner: begin with {said(FAST)}."),
        click.option("--like", metavar="PICTURE", default=None, shell_complete=files,
                     help="Begin with what a picture's record says, ours or another program's."),
    ):  # fmt: skip
        command = option(command)
    return command


def started(prompts: tuple[str, ...], options: dict[str, Any]) -> tuple[str, ...]:
    """Fill the options that are not given with those of --fast, then of the preset, then of the picture's record.

    Returns:
        the prompts: those that are given, or the record's.
    """
    like, preset, saved, fast = (options.pop(name) for name in ("like", "preset", "save_preset", "fast"))
    if fast:
        _fill(options, FAST)
    if saved is not None:
        from ..store.own import presets

        given = {name: value for name, value in options.items() if name not in APART and value is not None}
        note(f"kept in {presets.write(saved, given)}: --preset {saved} begins with it")
    if preset is not None:
        from ..store.own import presets

        _fill(options, presets.read(preset))
    return prompts if like is None else _like(like, prompts, options)


def _like(picture: str, prompts: tuple[str, ...], options: dict[str, Any]) -> tuple[str, ...]:
    """Fill in what the record of a picture says, and tell what of it has no place here."""
    from ..pictures.alike import alike
    from ..store.find import find

    found = alike(picture)
    said = dict(found.options)
    if "model" in said and options.get("model") is None:
        try:
            find(said["model"])
        except DanqingError:
            note(f"its model {said.pop('model')!r} is not here, so the default one paints: name another with --model")
    if found.left:
        note(f"of {found.program}'s record this was left out: {'; '.join(found.left)}")
    prompt, seed = said.pop("prompt", ""), said.pop("seed", None)
    if not options["seeds"] and seed is not None:
        options["seeds"] = (seed,)
    if not prompts:  # what came of its choices then is what is painted
        options |= {name: said[name] for name in ("template", "negative_template") if name in said}
    _fill(options, said)
    return prompts or (prompt,)


def _fill(options: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Set the options that are not given."""
    options |= {name: value for name, value in said.items() if name in options and options[name] is None}
