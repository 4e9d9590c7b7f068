"""The commands that look after models and files: list, fetch, convert, inspect."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import DanqingError, InvalidInput
from ...lang.spoken import said, term
from ..completion import files, pulled
from ..options import Examples
from ..screen import asked, echo, leaving, note, say, screen

if TYPE_CHECKING:
    from ...store.model import Model


@click.command(
    "models",
    cls=Examples,
    short_help="List the models that are here.",
    epilog="danqing models\ndanqing models --hash\ndanqing models --json",
)
@click.option("--hash", "hashes", is_flag=True, help="Read every file whole once, for its SHA-256; it is remembered.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each.")
def models(hashes: bool, as_json: bool) -> None:
    """List the models that installed packages bring, and all that lies in the folders of models.

    These folders are named by DANQING_MODELS or in settings.toml; a tree of ComfyUI or of A1111 may be one.
    """
    from ... import installed
    from ...store import library, settings, shipped
    from ...store.model import read_model
    from . import listing

    brought = shipped.folders()
    if shipped.DEFAULT not in brought:
        note(installed.missing(shipped.DEFAULT))
    told = set[Path]()
    for name, folder in brought.items():
        with suppress(DanqingError):  # what is broken is listed below, with the reason
            _tell(name, read_model(folder), as_json)
            told.add(folder)
    stated = settings.read()
    for root in stated.models if stated.stated else ():
        if not root.is_dir():
            note(f"there is no folder {root}, which the settings name")
    found = (line for line in library.listing(hashes=hashes) if line.entry.path not in told)
    for line in map(listing.facts, found) if as_json else listing.lines(found):
        say(line) if isinstance(line, dict) else echo(line)


def _tell(name: str, model: Model, as_json: bool) -> None:
    """What an installed package brings."""
    size = sum(model.path(part.file).stat().st_size for part in model.components.values())
    if as_json:
        say(
            {
                "name": name,
                "kind": "model",
                "what": "installed",
                "summary": model.summary,
                "licence": model.licence,
                "bytes": size,
                "sha256": model.components[model.core].sha256,
                "defaults": dict(model.defaults),
                "folder": str(model.folder),
            }
        )
        return
    echo(f"{name}  {size / 1e6:.0f} MB  {model.licence}\n    {model.summary}")
    echo("    " + ", ".join(f"{key} {value}" for key, value in model.defaults.items()))


@click.command(
    "pull",
    cls=Examples,
    short_help="Fetch a model from the network.",
    epilog="""
danqing pull sdxl --variant fp16
danqing pull owner/name                          a folder of diffusers, without what is not needed
danqing pull owner/name@revision:file.safetensors
danqing pull https://example.org/x.safetensors --sha256 6ce0161689...
""",
)
@click.argument("name", shell_complete=pulled)
@click.option(
    "--into",
    metavar="FOLDER",
    shell_complete=files,
    default=None,
    help="The folder that takes it; the first folder of models when not given.",
)
@click.option("--variant", metavar="NAME", default="", help="Of a model's weights, e.g. fp16: half the size.")
@click.option("--sha256", metavar="HEX", default="", help="What a file must have; the hub's own are checked anyhow.")
@click.option("--force", is_flag=True, help="Replace a file that is there and differs.")
def pull(name: str, into: str | None, variant: str, sha256: str, force: bool) -> None:
    """Fetch NAME: a short name, an id of the Hugging Face hub, or an address. What was interrupted goes on from where
    it was.

    Short names are sd1.5, sd1.5-inpainting, sdxl, sdxl-refiner, sd3-medium, sd3.5-medium and sd3.5-large.
    """
    from ...store import pull as pulling
    from ...store.fetch import fetch
    from . import listing

    try:
        wanted = pulling.plan(
            name, into=Path(os.path.expanduser(into)) if into else None, variant=variant, sha256=sha256
        )
        for word in wanted.notes:
            note(word)
        with listing.transfer(quiet=asked("quiet")) as draw:
            for state in fetch(wanted, force=force):
                draw(state)
    except KeyboardInterrupt:
        echo("danqing: interrupted; the same command goes on from here", err=True)
        sys.exit(130)
    echo(str(wanted.path))


@click.command(
    "convert",
    cls=Examples,
    short_help="Write a model in another form or precision.",
    epilog="""
danqing convert old.ckpt new.safetensors --prune --dtype fp16
danqing convert quantised.gguf plain.safetensors --dtype bf16
danqing convert model.safetensors folder/        a folder of diffusers
danqing convert folder/ model.safetensors        and back
danqing convert model.safetensors small/ --quantise int8
""",
)
@click.argument("source", shell_complete=files)
@click.argument("target", shell_complete=files)
@click.option("--dtype", metavar="NAME", default=None, help="fp16, bf16 or fp32; as it is when not given.")
@click.option("--layout", metavar="NAME", default=None, help="Of a folder: diffusers, which is usual, or danqing.")
@click.option(
    "--prune", is_flag=True, help="Of a file that stays a file, leave out copies and leftovers of its training."
)
@click.option(
    "--prediction", metavar="NAME", default="", help="eps or v, where SOURCE does not say what its network predicts."
)
@click.option(
    "--quantise", metavar="NAME", default="", help="Keep the weights in few bits: int8, int8-weights or int4; a folder."
)
@click.option("--force", is_flag=True, help="Replace TARGET, if it is a file or a model's folder.")
def convert(source: str, target: str, **options: Any) -> None:
    """Write the model SOURCE anew as TARGET: a file by its ending .safetensors, else a folder. SOURCE stays as it
    is."""
    from . import listing

    with screen(quiet=False) as screened:
        screened.waiting("converting")
        with leaving(screened):
            from ...store import convert as converting
        done = converting.convert(source, target, **options)
    for word in (*converting.summary(done.dropped), *done.notes):
        note(word)
    echo(f"{done.path}  {listing.size(done.size)}")


def _sides(text: str) -> tuple[int, int]:
    """Width and height, of 512x512.

    Raises:
        InvalidInput: the text says neither.
    """
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidInput(f"cost: {text!r} was given; possible is a size in pixels, such as 512x512")
    return int(width), int(height)


@click.command(
    "inspect",
    cls=Examples,
    short_help="Say what a file is: a picture, weights, a model.",
    epilog="""
danqing inspect fox.png
danqing inspect model.safetensors
danqing inspect path/of/a/model --json
danqing inspect sdxl --cost 1024x1024            what painting takes, before anything is loaded
""",
)
@click.argument("file", shell_complete=files)
@click.option("--cost", metavar="WxH", default=None, help="Say what memory and products painting so many pixels takes.")
@click.option("--precision", metavar="NAME", default=None, help="Of the cost: fp32, bf16 or fp16; the machine's own.")
@click.option("--device", metavar="NAME", default=None, help="Of the cost: cpu, cuda, mps; the best one.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(file: str, cost: str | None, precision: str | None, device: str | None, as_json: bool) -> None:
    """Say what FILE is: how a picture was painted, what a weights file holds, or whether a model's folder is whole.

    With --cost FILE may also be the name of a model. Its networks are counted by their shapes, and nothing is loaded.
    """
    if cost is not None:
        from ...measure.machine.cost import stated, told

        width, height = _sides(cost)
        count = stated(file, width, height, precision=precision, device=device)
        found = count.data() if as_json else dict(told(count))
    else:
        from ...store.inspect import describe

        found = describe(Path(file))
    if as_json:
        say(found)
        return
    for key, value in found.items():
        shown = said(value) if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
        echo(f"{term(key)}: {shown}")
