"""How well `danqing tell` tells held-out art: pairs of subject and style that neither the judge nor the tower has seen.

    python benchmarks/telling.py --art FOLDER            prints the table
    python benchmarks/telling.py --art FOLDER --write    and puts it into docs/telling.md

The folder is the one that `python -m experiments.data` makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from danqing.measure import tell
from danqing.measure.evaluation.art import Art, Row
from danqing.measure.evaluation.asked import apart, drawn
from marks import put

COUNT = 300
#: From which certainty on a first guess is counted apart.
CERTAIN = (0.0, 0.5, 0.8)


def place(guesses: Sequence[tell.Guess], word: str) -> int:
    """Which guess is right, from 0 on; more than there are where none is."""
    return next((i for i, guess in enumerate(guesses) if guess.en == word), 99)


def row(name: str, found: Sequence[tuple[Sequence[tell.Guess], str]]) -> str:
    """A line of the table: the shares of the pictures whose first guess, and one of whose first five, is right."""
    places = [place(guesses, word) for guesses, word in found]
    cells = [f"{100 * sum(at < among for at in places) / len(places):.0f} %" for among in (1, 5)]
    for least in CERTAIN[1:]:
        sure = [at for at, (guesses, _) in zip(places, found, strict=True) if guesses and guesses[0].certainty >= least]
        cells.append(f"{100 * sum(at == 0 for at in sure) / max(len(sure), 1):.0f} % of {len(sure)}")
    return f"| {name} | {' | '.join(cells)} |"


def told(teller: tell.Drawings, art: Art, rows: Sequence[Row]) -> list[tell.Told]:
    return [teller.tell(Image.fromarray(x.movedim(0, -1).numpy())) for x in art.pictures(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--art", required=True, type=Path, help="The folder of art.")
    parser.add_argument("--write", action="store_true", help="put the table into docs/telling.md")
    args = parser.parse_args()
    art, teller = Art(args.art), tell.load()
    head = ["", "first", "among five", *(f"first, where at least {100 * least:.0f} % certain" for least in CERTAIN[1:])]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    rows = drawn(art.of("singles", "heldout_pair"), "tell")[:COUNT]
    found = told(teller, art, rows)
    for kind, words in (
        ("subject", [each["label_en"] for each in rows]),
        ("style", [art.style(each["style"], "en") for each in rows]),
    ):
        lines.append(row(kind, [(each.guesses.get(kind, ()), word) for each, word in zip(found, words, strict=True)]))
    people = drawn(list(filter(apart, art.of("portraits"))), "tell")[:COUNT]
    words = [each["attributes"]["person"]["en"] for each in people]
    seen = told(teller, art, people)
    lines.append(row("man or woman", [(e.guesses.get("person", ()), w) for e, w in zip(seen, words, strict=True)]))
    table = "\n".join(lines)
    print(table)
    if args.write:
        put("docs/telling.md", "telling", table)


if __name__ == "__main__":
    main()
