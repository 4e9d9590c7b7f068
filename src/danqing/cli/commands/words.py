"""The command that lists the words a model learned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ...errors import InvalidInput
from ...lang.spoken import said
from ...store.shipped import DEFAULT
from ..options import Examples
from ..screen import echo, leaving, say, screen

if TYPE_CHECKING:
    from ...painting.vocabulary import Vocabulary

#: How many subjects the summary shows.
SHOWN = 24


class Row(NamedTuple):
    """A style, a subject, or all words of another kind, in both languages."""

    kind: str
    emoji: str
    en: tuple[str, ...]
    zh: tuple[str, ...]

    def fits(self, text: str) -> bool:
        """Whether a text stands in one of the names."""
        return any(text in name.casefold() for name in (self.emoji, *self.en, *self.zh))

    def whole(self, text: str) -> bool:
        """Whether a text is a whole word of one of the names."""
        return any(re.search(rf"\b{re.escape(text)}\b", name.casefold()) for name in (*self.en, *self.zh))

    def __str__(self) -> str:
        return "  ".join(filter(None, (self.emoji, ", ".join(self.en), "、".join(self.zh))))


@click.command(
    "words",
    cls=Examples,
    short_help="List the words that a model learned.",
    epilog="""
danqing words                    in short
danqing words subjects           or styles, colours, people, scenes
danqing words fox                whatever has fox in its name
danqing words 狐狸 --json
""",
)
@click.argument("what", default="")
@click.option("--model", metavar="NAME", default=DEFAULT, help="Whose words.", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each.")
def words(what: str, model: str, as_json: bool) -> None:
    """List what a model can be asked for, in English and Chinese: everything of one kind, or what has WHAT in its name.

    Words outside of it are warned of when a picture is painted.
    """
    from ...painting.vocabulary import Vocabulary
    from ...store.find import find

    found = find(model)
    vocabulary = Vocabulary.of(found)
    if not vocabulary.subjects:
        raise InvalidInput(f"{found.name} does not say which words it learned; {DEFAULT} does")
    every, asked = list(rows(vocabulary)), what.casefold().strip()
    of_kind = [row for row in every if not asked or row.kind == asked]
    chosen = of_kind or sorted((row for row in every if row.fits(asked)), key=lambda row: not row.whole(asked))
    if as_json:
        for row in chosen:
            say({name: value for name, value in row._asdict().items() if value})
    elif not asked:
        echo("\n".join(summary(every)))
    elif chosen:
        echo("\n".join(map(str, chosen)))
    else:
        echo("\n".join(lacking(vocabulary, what, model)))


def rows(vocabulary: Vocabulary) -> Iterator[Row]:
    """All that a vocabulary has, but for words that say nothing by themselves."""
    from ...painting.vocabulary import FUNCTION

    yield from (Row("styles", "", *named) for named in vocabulary.styles.words.values())
    yield from (Row("subjects", *subject) for subject in vocabulary.subjects)
    yield from (Row(kind, "", *named) for kind, named in vocabulary.kinds.items() if kind != FUNCTION)


def summary(every: Iterable[Row]) -> Iterator[str]:
    """The kinds with their first names; of the subjects some, evenly chosen."""
    kinds: dict[str, list[Row]] = {}
    for row in every:
        kinds.setdefault(row.kind, []).append(row)
    for kind, of_kind in kinds.items():
        if len(of_kind) == 1:
            yield f"{kind}: {of_kind[0]}"
            continue
        shown = of_kind[:: -(-len(of_kind) // SHOWN)]
        some = ", ".join(" ".join(filter(None, (row.emoji, row.en[0], row.zh[0]))) for row in shown)
        more = said(f", …; danqing words {kind} lists all") if len(shown) < len(of_kind) else ""
        yield f"{kind} ({len(of_kind)}): {some}{more}"


def lacking(vocabulary: Vocabulary, what: str, model: str) -> Iterator[str]:
    """What is to be said of words that nothing is called by."""
    if not vocabulary.unknown(what):
        yield f"{what}: nothing is called so, but it was said beside other words"
        return
    with screen(quiet=False) as show:
        show.waiting("loading")
        with leaving(show):
            from ...painting.load import load
        from ...painting.painter import Painter

        loaded: Any = load(model)
    if isinstance(loaded, Painter):
        yield from vocabulary.notes(loaded.text, what)
