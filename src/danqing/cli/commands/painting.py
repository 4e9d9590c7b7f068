"""The commands that paint, and how each picture gets its file."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import DanqingError, InvalidFile, InvalidInput
from ..beginning import begun, started
from ..completion import files
from ..options import Examples, as_recorded, computing, fields, fields_but, number, outputs
from ..screen import Screen, echo, leaving, say, screen

if TYPE_CHECKING:
    from ...painting.loaded import LoadedModel
    from ...pictures.picture import Picture
    from ...request.request import Request, Resolved

#: How files are called where nobody says.
NAME = "{prompt}-{seed}-{index}.png"


from_file = click.option(
    "--from", "source", metavar="FILE", shell_complete=files, default=None,
    help="Paint a prompt a line of FILE, or a request a row: .txt, .csv, .tsv or .jsonl.",
)  # fmt: skip


@click.command(
    "paint",
    cls=Examples,
    short_help="Paint pictures from words.",
    epilog="""
danqing paint "a red fox, 3d style"
danqing paint "一只红色的狐狸" --seed 42 -o fox.png
danqing paint "a cat" "a dog" --seed 1 --seed 2 --grid -o pets/
danqing paint "[a cat:a dog:0.5]" --negative "frame" --steps 30 --solver euler
danqing paint "a fox" --finish none                       128 px as painted; enlarge, faces and tone are finishes
danqing paint "a red mushroom" --transparent --svg        cut out, and as curves
danqing paint "a house" --count 4 --json -o "{prompt}-{seed}-{index}.webp"
danqing paint "an owl" --like fox.png                     what is not said is as in that picture's record, any program's
danqing paint --model stylegan2 --seed 7 --truncation 0.7 --mix 9 --mix-from 4
danqing paint 猫 --model biggan --truncation 0.5 --count 9 --grid
""",
)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@from_file
@begun
@fields("recipe")
@fields_but(
    "mask", "mask_blur", "mask_grow", "only_masked", "padding", "fill", "extend", "strength", "image_scale", "to"
)
@outputs
def paint(prompts: tuple[str, ...], source: str | None, **options: Any) -> None:
    """Paint each PROMPT; no prompt paints anything.

    An option that is not given has the model's own value: `danqing models` lists them.
    """
    if len(prompts) > 2 and not any(re.search(r"\s", prompt) for prompt in prompts):
        whole = " ".join(prompts)
        echo(f'{len(prompts)} prompts of a word each are painted; one of them all is quoted: "{whole}"', err=True)
    prompts = started(prompts, options)
    rows = [{"prompt": prompt} for prompt in prompts] + (read_rows(source) if source else [])
    run(options.pop("recipe") or "text2image", rows or [{}], options)


@click.command(
    "edit",
    cls=Examples,
    short_help="Paint over a picture, or over a part of it.",
    epilog="""
danqing edit fox.png "a blue fox" --strength 0.5
danqing edit fox.png "a hat" --mask mask.png -o fox-with-hat.png
danqing edit large.png "a hat" --mask mask.png --only-masked --padding 64
danqing edit cut-out.png "a meadow" --holes
""",
)
@click.argument("image", shell_complete=files)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@begun
@click.option("--holes", is_flag=True, help="Repaint what is transparent in IMAGE, as if a mask said so.")
@fields("recipe")
@fields_but("extend", "truncation", "mix", "mix_from", "to")
@outputs
def edit(image: str, prompts: tuple[str, ...], holes: bool, **options: Any) -> None:
    """Paint over IMAGE; with --mask only where it is white, the rest of the picture keeps its bytes.

    IMAGE is not changed: what is painted is a new file. An option that is not given has the model's own value.
    """
    if holes and options["mask"] is not None:
        raise InvalidInput("--holes and --mask both say what to repaint: give one of them")
    prompts = started(prompts, options)
    usual = "inpaint" if holes or options["mask"] is not None else "image2image"
    run(options.pop("recipe") or usual, [{"prompt": prompt} for prompt in prompts] or [{}], {**options, "image": image})


@click.command(
    "replay",
    cls=Examples,
    short_help="Paint a picture again from its record; is it the same?",
    epilog="danqing replay fox.png\ndanqing replay fox.png --json",
)
@click.argument("picture", shell_complete=files)
@computing
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
@click.option("--trust", is_flag=True, help="Read files that the record names outside the folders of models.")
def replay(picture: str, device: str | None, as_json: bool, trust: bool) -> None:
    """Paint PICTURE again from the record inside it, with its precision, engine, kernels and number of threads, and say
    whether every pixel is the same.

    Exit code 0: exact. 1: not exact; the difference and its likely reason are told.
    """
    from ...api import compare
    from ...store.replayed import record_of, request_of

    request = request_of(picture, trust=trust)
    as_recorded(record_of(picture))
    with screen(quiet=as_json) as show:
        show.waiting("loading")
        found = compare(picture, show.one(load(request, device, show), request, 1, 1, None))
    if as_json:
        say({"exact": found.exact, "max_abs": found.max_abs, "mean_abs": found.mean_abs, "why": found.why})
    else:
        echo(found.why)
    sys.exit(0 if found.exact else 1)


def run(recipe: str, rows: Iterable[Mapping[str, Any]], options: dict[str, Any]) -> None:
    """Paint every row of fields × seed × index."""
    seeds, count = options.pop("seeds") or (None,), number("count", options.pop("count"))
    paint_each([{"recipe": recipe, "seed": seed, **row} for row in rows for seed in seeds], options, count)


def read_rows(source: str) -> list[dict[str, Any]]:
    """The requests in a file.

    Raises:
        InvalidInput: it holds none, or a line is no request.
    """
    from ...pictures.rows import rows

    if not (found := rows(source)):
        raise InvalidInput(f"{source} holds no prompt: write one a line")
    return found


def paint_each(
    changes: Iterable[Mapping[str, Any]], options: dict[str, Any], count: int = 1, pattern: str = NAME
) -> None:
    """`attempt_each`; the process ends with its exit code."""
    if code := attempt_each(changes, options, count, pattern)[1]:
        sys.exit(code)


def attempt_each(
    changes: Iterable[Mapping[str, Any]], options: dict[str, Any], count: int = 1, pattern: str = NAME
) -> tuple[list[Picture], int]:
    """Paint what each of the changes makes of the options, and write each picture as soon as it is done. Those that
    could be painted are returned, with the exit code that the others come to.

    Args:
        options: those of `outputs` or `written`, and fields of `Request` that all share.
        count: how many pictures of each, by their index.
        pattern: of the files' names where the output says none.
    """
    from ...pictures import encode, files, sheet
    from ...request.request import Request

    output, device = options.pop("output"), options.pop("device")
    switches = ("force", "as_json", "preview", "grid", "svg", "transparent", "keep_all")
    force, as_json, preview, grid, svg, transparent, keep_all = (options.pop(name, False) for name in switches)
    best = number("best", options.pop("best", None) or "1")
    stated = {name: value for name, value in options.items() if value is not None}
    base = [Request(**{**stated, **change}) for change in changes]
    where = Destination.of(output, pattern)
    for name in ("x.svg",) * svg + (where.pattern,):  # what cannot be written is known before anything is painted
        encode.format_of(Path(name), max(request.frames for request in base))
    files.writable(where.folder / "picture")
    with screen(quiet=as_json) as show:
        show.waiting("loading")
        loaded = load(base[0], device, show)
        first = [{"name": "cut-out"}] if transparent else []  # where the background is still as even as it was painted
        resolved = [one for request in base for one in _each(loaded, request, count * best)]
        wanted = [r.but(finish=(*first, *r.finish)) for r in resolved]
        if not as_json:
            show.solver(stated.get("solver"), base[0])
            show.styles(base, wanted)
        names = [where.name(request, n) for n, request in enumerate(wanted, 1)]
        files.writable(max(names, key=lambda name: len(os.fsencode(name))))
        for request, name in zip(wanted, names, strict=True):
            encode.check_size(name, *sides(request))
        chosen = _chosen(best, keep_all, show)
        outcome = Outcome(show, force=force, svg=svg, as_json=as_json)
        painted: list[tuple[Picture, Path]] = []
        # Each will be overwritten, then removed.
        shown = [files.free(name.with_suffix(".preview.png")) if preview else None for name in names]
        for n, (made, name) in enumerate(zip(show.several(loaded, wanted, shown), names, strict=True), 1):
            with outcome.kept_going():
                painted.append((made(), name))
            if n % best == 0:
                for picture, place in chosen(painted):
                    outcome.write(picture, place)
                painted = []
        if grid and len(outcome.done) > 1:
            images = [picture.image for picture in outcome.done]
            show.tell(f"{sheet.write(images, where.sheet(), overwrite=force)}", err=as_json)
    return outcome.done, outcome.code


def _each(loaded: LoadedModel, request: Request, count: int) -> Iterator[Resolved]:
    """So many pictures of one request by their index, all of the seed that is drawn for the first."""
    yield (first := loaded.resolve(request))
    seed = first.stated().get("seed")
    for i in range(1, count):
        yield loaded.resolve(request.but(seed=seed, index=request.index + i))


def _chosen(
    best: int, keep_all: bool, show: Screen
) -> Callable[[list[tuple[Picture, Path]]], list[tuple[Picture, Path]]]:
    """Of every so many pictures, with their files, those that are written: the one that fits its prompt best, and after
    it the others where all are kept."""
    if best == 1:
        return list
    with leaving(show):
        from ...measure.best import Fit

        fit = Fit()

    def chosen(painted: list[tuple[Picture, Path]]) -> list[tuple[Picture, Path]]:
        if not painted:
            return []
        how_well = fit.of([picture for picture, _ in painted])
        order = sorted(range(len(painted)), key=lambda i: -how_well[i])
        said = ", ".join(f"{painted[i][0].request.index}: {how_well[i]:.2f}" for i in order)
        show.note(f"how well each fits the prompt, by its index: {said}")
        return [painted[i] for i in (order if keep_all else order[:1])]

    return chosen


class Outcome:
    """What comes of requests: each picture that is done is written, and what fails does not take the others.

    Args:
        done: the pictures so far.
    """

    def __init__(self, show: Screen, *, force: bool, svg: bool, as_json: bool):
        self.show, self.force, self.svg, self.as_json = show, force, svg, as_json
        self.done: list[Picture] = []
        self.failed: list[DanqingError] = []
        self.taken: set[Path] = set()

    @property
    def code(self) -> int:
        """The exit code that the failures come to."""
        return max((2 if isinstance(error, InvalidInput | InvalidFile) else 1 for error in self.failed), default=0)

    @contextmanager
    def kept_going(self) -> Iterator[None]:
        """What fails within is told, and counted."""
        try:
            yield
        except DanqingError as error:
            self.failed.append(error)
            self.show.tell(f"danqing: {error}", err=True)

    def write(self, picture: Picture, name: Path) -> None:
        """Write a picture to its file, or beside it, and say where."""
        from ...pictures import kept

        over, more = self.force and name not in self.taken, dict[str, str]()
        with self.kept_going():
            written, amiss = kept.save(picture, name, overwrite=over)
            with self.kept_going():  # the picture itself is written
                if self.svg and written.suffix != ".svg":
                    more["svg"] = str(picture.save(written.with_suffix(".svg"), overwrite=over))
            self.taken.add(name)
            self.show.finished(picture, written)
            if self.as_json:
                say({"file": str(written), **more, **_as_data(picture)})
            else:
                self.show.tell("\n".join((str(written), *more.values())))
            self.done.append(picture)
            if amiss is not None:
                raise amiss


def _as_data(picture: Picture) -> dict[str, Any]:
    return {
        "request": picture.request.data(),
        "warnings": picture.warnings,
        "record": picture.record,
        "seconds": picture.timings,
    }


def sides(request: Request) -> tuple[float, float]:
    """Width and height of a resolved request's picture after its finishes, in pixels, as far as it states them; 0 where
    it does not."""
    stated = request.stated()
    times = math.prod(float(getattr(record, "scale", None) or 1) for record in request.finish)
    return stated.get("width", 0) * times, stated.get("height", 0) * times


def load(request: Request, device: str | None, show: Screen) -> LoadedModel:
    with leaving(show):
        from ...painting import load as loading

    return loading.load_for(request, device)


class Destination:
    """Where pictures go: a folder, and a pattern for the names in it."""

    def __init__(self, folder: Path, pattern: str):
        from ...pictures import encode

        self.folder, self.pattern = folder, pattern
        encode.format_of(Path(pattern))

    @classmethod
    def of(cls, output: str | None, pattern: str) -> Destination:
        """What ``-o`` says; in a folder the names are of the pattern given."""
        path = Path(os.path.expanduser(output or "."))
        folder = os.path.isdir(path)
        if not folder and (output or "").endswith("/"):
            try:
                path.mkdir()
            except OSError as error:
                raise InvalidFile(
                    f"cannot make the folder {path}: {error.strerror or error}. Choose another with -o"
                ) from None
            folder = True
        if not folder and not path.suffix:
            raise InvalidInput(
                f"-o {output} is no folder, and no picture by its name: write {path}/ to make the folder, or {path}.png"
            )
        return cls(path, pattern) if folder else cls(path.parent, path.name)

    def name(self, request: Request, n: int) -> Path:
        from ...pictures import files

        values = {
            "prompt": files.slug(request.prompt),
            "seed": request.seed,
            "index": request.index,
            "n": n,
            "to": request.translation.to,
        }
        named = {
            name: files.stem(source, 200 if not request.interpolation.other else 90)
            for name, source in (("image", request.image), ("other", request.interpolation.other))
        }
        return self.folder / files.fill(
            self.pattern, {**values, **named, "model": files.slug(Path(request.model).name)}
        )

    def sheet(self) -> Path:
        import re

        stem = re.sub(r"\{\w+\}", "", Path(self.pattern).stem).strip("-_ ") or "all"
        return self.folder / f"{stem}-grid.png"
