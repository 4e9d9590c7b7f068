"""``danqing tell``: what pictures show, in words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import InvalidInput
from ..completion import files
from ..options import Examples
from ..screen import Screen, echo, leaving, note, say, screen

if TYPE_CHECKING:
    from ...measure.tell import Guess, Teller, Told

LANGUAGES = ("en", "zh")


@click.command(
    "tell",
    cls=Examples,
    short_help="Say what pictures show, in words.",
    epilog="""
danqing tell fox.png
danqing tell art/ --json
danqing tell art/ --captions                     fox.txt beside fox.png, as trainers read them
danqing tell art/ --captions --lang zh --force
danqing tell photo.jpg --clip clip-vit-large-patch14/ --words words.txt
""",
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", shell_complete=files)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each picture.")
@click.option("--captions", is_flag=True, help="Write each picture's caption to a .txt beside it; none is replaced.")
@click.option("--lang", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the captions.")
@click.option("--force", is_flag=True, help="Replace captions that are there.")
@click.option("--clip", metavar="PATH", default=None, shell_complete=files,
              help="Ask a CLIP of yours instead, a file or a folder, which of --words fit.")  # fmt: skip
@click.option("--words", metavar="FILE", default=None, shell_complete=files, help="The words for --clip, one a line.")
def tell(
    images: tuple[str, ...], as_json: bool, captions: bool, lang: str, force: bool, clip: str | None, words: str | None
) -> None:
    """Say what each IMAGE shows: subject, style and colours, in English and Chinese, with certainties.

    Drawings such as danqing-mini paints are known, and nothing else: of a photograph it says which drawing is nearest.
    """
    from ...pictures import paths

    if (clip is None) != (words is None):
        raise InvalidInput("--clip and --words belong together: name the CLIP, and the list of words that it may say")
    found = paths.pictures(images, partial(echo, err=True))
    there = [path for path in found if captions and not force and path.with_suffix(".txt").exists()]
    wanted = [path for path in found if path not in there]
    with screen(quiet=as_json) as show:
        for path, told in _each(wanted, clip, words, show) if wanted else ():
            if captions:
                _write(path.with_suffix(".txt"), told.captions[lang], force)
            if as_json:
                guesses = {kind: [guess._asdict() for guess in each] for kind, each in told.guesses.items()}
                say({"image": str(path), "captions": dict(told.captions), **guesses})
            elif not captions:
                show.tell("\n".join(lines(path, told)))
    if captions:
        note(
            f"{len(wanted)} captions written"
            + (f"; {len(there)} were there already, --force replaces them" if there else "")
        )


def _each(found: list[Path], clip: str | None, words: str | None, show: Screen) -> Iterator[tuple[Path, Told]]:
    """What is told of each picture."""
    from ...pictures import read

    show.waiting("loading")
    with leaving(show):
        from ...measure import clip as clips
        from ...measure import tell as telling
    teller: Teller = clips.load(clip, words) if clip and words else telling.load()
    for n, path in enumerate(found, 1):
        if show.progress is not None:
            show.progress.update(show.task, description=path.name, completed=n - 1, total=len(found))
        yield path, teller.tell(read.picture(path))


def _write(path: Path, text: str, force: bool) -> None:
    from ...pictures import files

    if force or not path.exists():  # two pictures may have one name but for the ending
        files.put(path, f"{text}\n".encode(), overwrite=True)


def lines(path: Path, told: Told) -> Iterator[str]:
    """What is told, for people."""
    yield f"{path}: {'  '.join(dict.fromkeys(told.captions.values()))}"
    width = max(map(len, told.guesses))
    for kind, guesses in told.guesses.items():
        if guesses:
            yield f"    {kind:<{width}}  {', '.join(map(_said, guesses))}"


def _said(guess: Guess) -> str:
    return f"{' '.join(filter(None, (guess.en, guess.zh)))} {100 * guess.certainty:.0f} %"
