"""Hold the catalogues of `danqing.lang` against what the code says.

    python benchmarks/messages.py            prints what is not translated, as entries of a catalogue
    python benchmarks/messages.py --write    puts them into the .po to be filled in there, takes out what is said no
                                             more, and compiles the .mo; so it is run again when they are filled in

A message is a text in the code that is made of words: a string, or an f-string, each of its fields a hole ``{}`` (what
`join` makes of a list ``{: and }``, with what is between the items). Where an f-string chooses between texts, each
choice is a message. docs/languages.md says more.
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.said import ROOT, messages

LANG = ROOT / "lang"


def of_click() -> Iterator[str | tuple[str, str]]:
    """What click says; of what it counts, one and several."""
    yield "required"
    for path in sorted(Path(click.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(ast.Name("_"), [ast.Constant(str(text))]):
                    yield text
                case ast.Call(ast.Name("ngettext"), [ast.Constant(str(one)), ast.Constant(str(several)), _]):
                    yield one, several


def place(language: str) -> Path:
    """The catalogue of a language."""
    return LANG / language / "LC_MESSAGES" / "danqing.po"


def renewed(language: str) -> Catalog:
    """A catalogue with the messages of today, and what was translated of them; the words of another click stay."""
    old = read(place(language))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    new = Catalog(language, project="danqing", version="1", creation_date=now, revision_date=now, fuzzy=False)
    for text, files in messages().items():
        new.add(text, old[text].string if text in old else "", auto_comments=files)
    kept = (each.id for each in old if each.id and "click" in each.auto_comments)
    for text in dict.fromkeys((*of_click(), *kept)):
        if text not in new:
            new.add(text, old[text].string if text in old else "", auto_comments=["click"])
    return new


def read(path: Path) -> Catalog:
    if not path.exists():
        return Catalog()
    with path.open("rb") as file:
        return read_po(file)


def missing(catalogue: Catalog) -> list[str]:
    """The messages that are not translated; of what is counted, the singular."""
    empty = [each.id for each in catalogue if each.id and (not each.string or not all(each.string))]
    return [text if isinstance(text, str) else text[0] for text in empty]


def written(catalogue: Catalog, only: Iterable[str] | None = None) -> bytes:
    """The .po of a catalogue, or of some of its messages."""
    file, some = io.BytesIO(), catalogue
    if only is not None:
        some = Catalog(catalogue.locale)
        for text in only:
            some[text] = catalogue[text]
    write_po(file, some, width=0, omit_header=only is not None)
    return file.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """Its .mo, of what is translated."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def main() -> None:
    """Exit code 1: something is not translated."""
    lacking = 0
    for language in sorted(path.name for path in LANG.iterdir() if (path / "LC_MESSAGES").is_dir()):
        catalogue = renewed(language)
        found = missing(catalogue)
        lacking += len(found)
        sys.stdout.write(written(catalogue, found).decode())
        print(f"# {language}: {len(found)} of {len(catalogue)} messages are not translated")
        if "--write" in sys.argv:
            place(language).write_bytes(written(catalogue))
            place(language).with_suffix(".mo").write_bytes(compiled(catalogue))
    sys.exit(bool(lacking))


if __name__ == "__main__":
    main()
