"""The command line, made from `Request`: every field is an option, its help the field's own.

torch is loaded by the first command that paints, so help and refusals come at once.
"""

from __future__ import annotations

import difflib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .errors import DanqingError, InvalidFile, InvalidInput
from .learn import command as learning

if TYPE_CHECKING:
    from .easel.painter import Painter
    from .easel.picture import Picture
    from .easel.request import Request

#: Fields that are no options of their own: arguments, or the command itself.
ELSEWHERE = ("recipe", "prompt", "image", "seed", "index")
#: What help calls the text of a field that names a file or a folder.
FILES = {"mask": "FILE", "model": "NAME", "refiner": "NAME"}
INTERRUPTED = "danqing: interrupted; nothing half-painted was written"


class Examples(click.Command):
    """Keeps the line breaks of the examples under the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_heading("Examples")
            formatter.indent()
            for line in self.epilog.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
            formatter.dedent()


class Group(Examples, click.Group):
    """Offers the nearest command for one that is not there."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Possible: {', '.join(self.commands)}."
            raise click.UsageError(f"{error.message.rstrip('.')}. {hint}", ctx) from None


def fields(*leave_out: str) -> Callable[[Any], Any]:
    """One option for each field of `Request`; values go to `Request` as typed, which alone judges them."""
    from .easel.request import Request, choices, domain, kind

    def decorate(command: Any) -> Any:
        for name in reversed(Request.model_fields):
            if name in leave_out:
                continue
            pair = name == "interval"
            what = "NAME" if choices(name) else FILES.get(name) or {int: "N", float: "X", str: "TEXT"}.get(kind(name), "X")
            text = f"{Request.model_fields[name].description} {domain(name)[:1].upper()}{domain(name)[1:]}."
            if kind(name) is str and not choices(name):
                text = str(Request.model_fields[name].description)
            form: dict[str, Any] = {"nargs": 2 if pair else 1, "metavar": "LOW HIGH" if pair else what}
            if kind(name) is bool:
                form, text = {"is_flag": True}, str(Request.model_fields[name].description)
            command = click.option(f"--{name.replace('_', '-')}", name, default=None, help=text, **form)(command)
        return command

    return decorate


def outputs(command: Any) -> Any:
    """The options of every command that paints."""
    for option in (
        click.option("--force", is_flag=True, help="Overwrite an existing file instead of numbering the new one."),
        click.option("--json", "as_json", is_flag=True, help="One line of JSON for each picture on standard output."),
        click.option("--preview", is_flag=True, help="After each step write what is known so far to a file beside the output."),
        click.option("--grid", is_flag=True, help="Also write all pictures as one sheet."),
        click.option("--device", metavar="NAME", default=None, help="cpu, cuda, cuda:1, mps; the best one when not given."),
        click.option("-o", "--output", "output", metavar="PATH", default=None,
                     help="A file (.png .jpg .webp), a folder, or a pattern of {prompt} {seed} {index} {n} {model}."),
        click.option("--count", metavar="N", default="1", help="How many pictures of each seed."),
        click.option("--seed", "seeds", metavar="N", multiple=True, help="Where the noise starts; repeat it for several."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
danqing paint "a red fox, 3d style"             a new picture, in this folder
danqing edit fox.png "a blue fox"               another one, from that
danqing edit fox.png "a hat" --mask mask.png    only where the mask is white
danqing replay fox.png                          the same again, from its own record
danqing pull sdxl; danqing models               more models, and what is there
danqing paint --help                            every option, with examples
""",
)
@click.version_option(__version__, prog_name="danqing")
def danqing() -> None:
    """丹青 danqing: paint pictures from words, offline, on your own machine."""


@danqing.command(
    "paint",
    cls=Examples,
    short_help="Paint pictures from words.",
    epilog="""
danqing paint "a red fox, 3d style"
danqing paint "一只红色的狐狸" --seed 42 -o fox.png
danqing paint "a cat" "a dog" --seed 1 --seed 2 --grid -o pets/
danqing paint "[a cat:a dog:0.5]" --negative "frame" --steps 30 --solver euler
danqing paint "a house" --count 4 --json -o "{prompt}-{seed}-{index}.webp"
""",
)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@fields(*ELSEWHERE, "mask", "mask_blur", "strength", "image_scale")
@outputs
def paint(prompts: tuple[str, ...], **options: Any) -> None:
    """Paint each PROMPT; no prompt paints anything.

    An option that is not given has the model's own value: `danqing models` lists them.
    """
    run("text2image", prompts or ("",), options)


@danqing.command(
    "edit",
    cls=Examples,
    short_help="Paint over a picture, or over a part of it.",
    epilog="""
danqing edit fox.png "a blue fox" --strength 0.5
danqing edit fox.png "a hat" --mask mask.png -o fox-with-hat.png
danqing edit cut-out.png "a meadow" --holes
""",
)
@click.argument("image")
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("--holes", is_flag=True, help="Repaint what is transparent in IMAGE, as if a mask said so.")
@fields(*ELSEWHERE)
@outputs
def edit(image: str, prompts: tuple[str, ...], holes: bool, **options: Any) -> None:
    """Paint over IMAGE; with --mask only where it is white, the rest of the picture keeps its bytes.

    IMAGE is not changed: what is painted is a new file. An option that is not given has the model's own value.
    """
    if holes and options["mask"] is not None:
        raise InvalidInput("--holes and --mask both say what to repaint: give one of them")
    recipe = "inpaint" if holes or options["mask"] is not None else "image2image"
    run(recipe, prompts or ("",), {**options, "image": image})


@danqing.command(
    "replay",
    cls=Examples,
    short_help="Paint a picture again from its record; is it the same?",
    epilog="danqing replay fox.png\ndanqing replay fox.png --json",
)
@click.argument("picture")
@click.option("--device", metavar="NAME", default=None, help="cpu, cuda, mps; the best one when not given.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
def replay(picture: str, device: str | None, as_json: bool) -> None:
    """Paint PICTURE again from the record inside it, and say whether every pixel is the same.

    Exit code 0: exact. 1: not exact; the difference and its likely reason are told.
    """
    from .easel.api import compare, recorded

    request = recorded(picture)
    with screen(quiet=as_json) as show:
        show.waiting("loading")
        found = compare(picture, show.one(load(request, device, show), request, 1, 1, None))
    if as_json:
        say({"exact": found.exact, "max_abs": found.max_abs, "mean_abs": found.mean_abs, "why": found.why})
    else:
        click.echo(found.why)
    sys.exit(0 if found.exact else 1)


@danqing.command(
    "models",
    cls=Examples,
    short_help="List the models that are here.",
    epilog="danqing models\ndanqing models --hash\ndanqing models --json",
)
@click.option("--hash", "hashes", is_flag=True, help="Read every file whole once, for its SHA-256; it is remembered.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each.")
def models(hashes: bool, as_json: bool) -> None:
    """List the models that ship with danqing, and all that lies in the folders of models.

    These folders are named by DANQING_MODELS or in settings.toml; a tree of ComfyUI or of A1111 may be one.
    """
    from .easel import library, settings, show, zoo

    if not zoo.names():
        click.echo(f"no model lies in {zoo.zoo()}: install danqing again, or name a model's folder with --model", err=True)
    for name in zoo.names():
        model = zoo.find(name)
        size = sum(model.path(part.file).stat().st_size for part in model.components.values())
        if as_json:
            say({"name": name, "kind": "model", "what": "ships with danqing", "summary": model.summary, "licence": model.licence,
                 "bytes": size, "sha256": model.components["denoiser"].sha256, "defaults": dict(model.defaults),
                 "folder": str(model.folder)})  # fmt: skip
        else:
            click.echo(f"{name}  {size / 1e6:.0f} MB  {model.licence}\n    {model.summary}")
            click.echo("    " + ", ".join(f"{key} {value}" for key, value in model.defaults.items()))
    said = settings.read()
    for root in said.models if said.stated else ():
        if not root.is_dir():
            click.echo(f"there is no folder {root}, which the settings name", err=True)
    found = library.listing(hashes=hashes)
    for line in map(show.facts, found) if as_json else show.lines(found):
        say(line) if isinstance(line, dict) else click.echo(line)


@danqing.command(
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
@click.argument("name")
@click.option("--into", metavar="FOLDER", default=None, help="The folder that takes it; the first folder of models when not given.")
@click.option("--variant", metavar="NAME", default="", help="Of a model's weights, e.g. fp16: half the size.")
@click.option("--sha256", metavar="HEX", default="", help="What a file must have; the hub's own are checked anyhow.")
@click.option("--force", is_flag=True, help="Replace a file that is there and differs.")
def pull(name: str, into: str | None, variant: str, sha256: str, force: bool) -> None:
    """Fetch NAME: a short name, an id of the Hugging Face hub, or an address. What was interrupted goes on from where it was.

    Short names are sd1.5, sd1.5-inpainting, sdxl, sdxl-refiner, sd3-medium, sd3.5-medium and sd3.5-large.
    """
    from .easel import pull as pulling
    from .easel import show

    try:
        wanted = pulling.plan(name, into=Path(os.path.expanduser(into)) if into else None, variant=variant, sha256=sha256)
        for note in wanted.notes:
            click.echo(note, err=True)
        with show.transfer(quiet=False) as draw:
            for state in pulling.fetch(wanted, force=force):
                draw(state)
    except KeyboardInterrupt:
        click.echo("danqing: interrupted; the same command goes on from here", err=True)
        sys.exit(130)
    click.echo(str(wanted.path))


@danqing.command(
    "convert",
    cls=Examples,
    short_help="Write a model in another form or precision.",
    epilog="""
danqing convert old.ckpt new.safetensors --prune --dtype fp16
danqing convert quantised.gguf plain.safetensors --dtype bf16
danqing convert model.safetensors folder/        a folder of diffusers
danqing convert folder/ model.safetensors        and back
""",
)
@click.argument("source")
@click.argument("target")
@click.option("--dtype", metavar="NAME", default=None, help="fp16, bf16 or fp32; as it is when not given.")
@click.option("--layout", metavar="NAME", default="diffusers", help="Of a folder: diffusers, or danqing.", show_default=True)
@click.option("--prune", is_flag=True, help="Of a file that stays a file, leave out copies and leftovers of its training.")
@click.option("--prediction", metavar="NAME", default="", help="eps or v, where SOURCE does not say what its network predicts.")
@click.option("--force", is_flag=True, help="Replace TARGET, if it is a file or a model's folder.")
def convert(source: str, target: str, **options: Any) -> None:
    """Write the model SOURCE anew as TARGET: a file by its ending .safetensors, else a folder. SOURCE stays as it is."""
    from .easel import show

    with screen(quiet=False) as screened:
        screened.waiting("converting")
        with leaving(screened):
            from .easel import convert as converting
        done = converting.convert(source, target, **options)
    for note in (*converting.summary(done.dropped), *done.notes):
        click.echo(note, err=True)
    click.echo(f"{done.path}  {show.size(done.size)}")


@danqing.command(
    "inspect",
    cls=Examples,
    short_help="Say what a file is: a picture, weights, a model.",
    epilog="danqing inspect fox.png\ndanqing inspect model.safetensors\ndanqing inspect path/of/a/model --json",
)
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(file: str, as_json: bool) -> None:
    """Say what FILE is: how a picture was painted, what a weights file holds, or whether a model's folder is whole."""
    from .easel.inspect import describe

    found = describe(Path(file))
    if as_json:
        say(found)
        return
    for key, value in found.items():
        click.echo(f"{key}: {value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)}")


danqing.command("learn", cls=Examples, short_help="Train a model.", epilog=learning.EXAMPLES)(learning.learn)


# ---------------------------------------------------------------------------------------------------------- painting


def run(recipe: str, prompts: Iterable[str], options: dict[str, Any]) -> None:
    """Paint every prompt × seed × index and write each picture as soon as it is done."""
    from .easel import files
    from .easel.request import Request

    output, seeds, count = options.pop("output"), options.pop("seeds"), number("count", options.pop("count"))
    force, as_json, preview, grid = (options.pop(name) for name in ("force", "as_json", "preview", "grid"))
    device = options.pop("device")
    stated = {name: value for name, value in options.items() if value is not None}
    stated["recipe"] = recipe
    base = [Request(prompt=prompt, seed=seed, **stated) for prompt in prompts for seed in seeds or (None,)]
    where = Destination.of(output)
    files.writable(where.folder / "picture")
    done: list[Picture] = []
    taken: set[Path] = set()
    with screen(quiet=as_json) as show:
        show.waiting("loading")
        painter = load(base[0], device, show)
        wanted = [r.but(index=i) for r in map(painter.resolve, base) for i in range(count)]
        names = [where.name(request, n) for n, request in enumerate(wanted, 1)]
        files.writable(max(names, key=lambda name: len(os.fsencode(name))))
        for n, (request, name) in enumerate(zip(wanted, names, strict=True), 1):
            glimpse = files.free(name.with_suffix(".preview.png")) if preview else None  # it will be overwritten, then removed
            picture = show.one(painter, request, n, len(wanted), glimpse)
            written = picture.save(name, overwrite=force and name not in taken)
            taken.add(name)
            show.finished(picture, written)
            if not as_json:
                show.tell(str(written))
            else:
                say({"file": str(written), "request": picture.request.model_dump(mode="json"), "warnings": picture.warnings,
                     "record": picture.record, "seconds": picture.timings})  # fmt: skip
            done.append(picture)
        if grid and len(done) > 1:
            show.tell(f"{files.write_sheet([p.image for p in done], where.sheet(), overwrite=force)}", err=as_json)


def load(request: Request, device: str | None, show: Screen) -> Painter:
    with leaving(show):
        from .easel.painter import Painter

    return Painter.load(request.model, device=device, precision=request.precision)


@contextmanager
def leaving(show: Screen) -> Iterator[None]:
    """Ctrl-C ends the process here and now: interrupted while they load, numpy forgets it and torch may abort."""
    if threading.current_thread() is not threading.main_thread():  # no other may say what a signal does
        yield
        return

    def leave(*_: Any) -> None:
        show.close()
        click.echo(INTERRUPTED, err=True)
        os._exit(130)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Destination:
    """Where pictures go: a folder, and a pattern for the names in it."""

    def __init__(self, folder: Path, pattern: str):
        from .easel import files

        self.folder, self.pattern = folder, pattern
        files.format_of(Path(pattern))

    @classmethod
    def of(cls, output: str | None) -> Destination:
        path = Path(os.path.expanduser(output or "."))
        folder = os.path.isdir(path)
        if not folder and (output or "").endswith("/"):
            try:
                path.mkdir()
            except OSError as error:
                raise InvalidFile(f"cannot make the folder {path}: {error.strerror or error}. Choose another with -o") from None
            folder = True
        if not folder and not path.suffix:
            raise InvalidInput(f"-o {output} is no folder, and no picture by its name: write {path}/ to make the folder, or {path}.png")
        return cls(path, "{prompt}-{seed}-{index}.png") if folder else cls(path.parent, path.name)

    def name(self, request: Request, n: int) -> Path:
        from .easel import files

        values = {"prompt": files.slug(request.prompt), "seed": request.seed, "index": request.index, "n": n}
        return self.folder / files.fill(self.pattern, {**values, "model": files.slug(Path(request.model).name)})

    def sheet(self) -> Path:
        import re

        stem = re.sub(r"\{\w+\}", "", Path(self.pattern).stem).strip("-_ ") or "all"
        return self.folder / f"{stem}-grid.png"


class Screen:
    """What a person sees on standard error: a bar with the time of a step, the file, the warnings."""

    def __init__(self, progress: Any):
        self.progress = progress
        self.task = None if progress is None else progress.add_task("", total=None, pace="")

    def waiting(self, text: str) -> None:
        if self.progress is not None:
            self.progress.update(self.task, description=text, total=None)

    def one(self, painter: Painter, request: Request, n: int, of: int, preview: Path | None) -> Picture:
        """Paint one picture, showing each step."""
        from .easel import files
        from .easel.picture import Picture

        began, title = time.perf_counter(), f"{n}/{of}" if of > 1 else "painting"
        try:
            for state in painter.states(request):
                if isinstance(state, Picture):
                    return state
                if self.progress is not None:
                    pace = (time.perf_counter() - began) / state.step
                    self.progress.update(
                        self.task,
                        description=title,
                        completed=state.step,
                        total=state.steps,
                        pace=f"{pace * 1000:.0f} ms a step",
                    )
                if preview is not None:
                    files.put(preview, files.encode(painter.glimpse(state), {"format": "PNG"}), overwrite=True)
        finally:
            if preview is not None:
                preview.unlink(missing_ok=True)
        raise DanqingError(f"the recipe {request.recipe} ended without a picture")

    def finished(self, picture: Picture, written: Path) -> None:
        from .easel import files

        for warning in picture.warnings:
            self.tell(f"warning: {warning}", err=True)
        if files.beside(written).exists():
            self.tell(f"the record lies beside, in {files.beside(written)}", err=True)

    def tell(self, line: str, *, err: bool = False) -> None:
        """A line that stays: the bar makes way for it."""
        self.close()
        click.echo(line, err=err)
        if self.progress is not None:
            self.progress.start()

    def close(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()


@contextmanager
def screen(*, quiet: bool) -> Iterator[Screen]:
    """A live bar where someone looks, plain lines elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield Screen(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Screen(progress)


def number(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise InvalidInput(f"{name}: {text!r} was given; possible is a whole number from 1 to 10000")
    return int(text)


def say(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def main(args: list[str] | None = None) -> None:
    """The entry point. Exit codes: 0 done, 2 bad input, 1 anything else, 130 interrupted."""
    # Threads that spin while they wait for each other slow small layers tenfold where anything else runs; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        danqing.main(args, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (InvalidInput, InvalidFile) as error:
        click.echo(f"danqing: {error}", err=True)
        sys.exit(2)
    except DanqingError as error:
        click.echo(f"danqing: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo(INTERRUPTED, err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # standard output itself may be a full disk
        click.echo(f"danqing: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
