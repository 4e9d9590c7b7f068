"""How far what is painted follows a hint: edges by F1 within two pixels, palettes by the distance of their colours,
with a control network and without it.

    taskset -c 0 python benchmarks/followed.py [--file edges=FILE] [--file palette=FILE] [--count 48] [--write]

Hints are drawn of pictures that are kept apart, and their captions are painted by the default model, a seed each; a
network without a file is the installed one of the hint's name, and where there is none its column is empty. Beside
stands how far the hint of another such picture is from it: what nobody follows. The art must lie in data/.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from danqing.painting.adapters import networks
from danqing.painting.adapters.hinting import hinted
from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from experiments.art import ledger
from experiments.captions import canonical
from experiments.common import DATA
from experiments.controls import followed, score_of

TITLES = {"edges": "F1 of edges within 2 px", "palette": "distance of palettes"}


def network(kind: str, given: dict[str, str]) -> str:
    """The file of a kind, or the name of the first network that has it in its own; "" where there is none."""
    return given.get(kind) or next((name for name in networks.names() if kind in name), "")


def measured(kind: str, file: str, pictures: list[Image.Image], texts: list[str], folder: Path) -> list[float]:
    """The mean score with the network, nan where there is none, without it, and of another picture's hint."""
    hints = [hinted(picture, kind) for picture in pictures]
    found: list[list[float]] = [[], [], []]
    for i, (picture, hint, text) in enumerate(zip(pictures, hints, texts, strict=True)):
        picture.save(path := folder / "hint.png")
        for k, controls in enumerate(([f"{kind}@{file}:{path}"] if file else None, [])):
            if controls is None:
                found[k].append(float("nan"))
                continue
            found[k].append(followed(kind, hint, text, i, controls)[1])
        found[2].append(score_of(kind)(hint, hints[(i + 1) % len(hints)]))
    return [statistics.fmean(each) for each in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", default=[], metavar="KIND=FILE")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--write", action="store_true", help="put the table into docs/control.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    given = dict(each.split("=", 1) for each in args.file)
    array = np.load(args.data / "singles.npy", mmap_mode="r")
    rows = [row for row in ledger(args.data, ("singles",)) if row["split"] == "heldout_pair"]
    held = random.Random(1).sample(rows, args.count)
    pictures, texts = [Image.fromarray(array[row["index"]]) for row in held], [canonical(row) for row in held]
    lines = [
        f"| {args.count} pictures kept apart | with its network | without | the hint of another |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for kind, title in TITLES.items():
            scores = measured(kind, network(kind, given), pictures, texts, Path(folder))
            said = " | ".join("no network" if value != value else f"{value:.3f}" for value in scores)
            lines.append(f"| {title} | {said} |")
    print("\n".join(lines))
    if args.write:
        put("docs/control.md", "followed", "\n".join(lines))


if __name__ == "__main__":
    main()
