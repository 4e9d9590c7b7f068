"""Write art as folders of PNGs, for `danqing compare`: what no model was trained on, and beside it what they were.

    python -m experiments.heldout

    data/heldout/art/<kind>/                the splits of the ledger that are kept apart, by kind
    data/heldout/art-trained/<kind>/        what is trained on
    data/heldout/portraits/                 portraits of a seed of their own, none of them in the ledger; needs node
    data/heldout/portraits-trained/

The small pictures are means of blocks, as the models see them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from experiments.art import Art, shrunk, style
from experiments.common import DATA
from experiments.data.__main__ import install
from experiments.data.ledger import read_records
from experiments.data.portraits import drawn, plan, render
from experiments.stylegan2 import Portraits

APART = ("heldout_pair", "heldout_subject")
#: What the portraits that are kept apart are drawn by; `experiments.data.portraits` has another.
SEED = 31


def written(folder: Path, name: str, pictures: Tensor, classes: Sequence[str] | None = None) -> None:
    """Write pictures (N, 3, S, S) of bytes as PNGs, each in the folder of its class where there are classes."""
    for i, picture in enumerate(pictures):
        path = folder / (classes[i] if classes else "") / f"{name}-{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.movedim(0, -1).numpy()).save(path)
    print(f"{folder}: {len(pictures)} pictures", flush=True)


def who(line: Mapping[str, Any]) -> str:
    """All that a portrait's drawing depends on."""
    return json.dumps(
        [line["style"], {name: value for name, value in line["options"].items() if name != "seed"}], sort_keys=True
    )


def strangers(data: Path, modules: Path, count: int, sets: Sequence[str]) -> Iterator[np.ndarray]:
    """So many portraits (128, 128, 3) of these sets, none of which is in the ledger."""
    known = {who(line) for line in read_records(data / "ledger_portraits.jsonl")}
    lines = [line for line in plan(modules, 4 * count, SEED) if line["style"] in sets and who(line) not in known][
        :count
    ]
    return map(render, drawn(modules, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=DATA / "heldout")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels, a divisor of 128 (64)")
    parser.add_argument("--portraits", type=int, default=1000, help="how many new ones to draw; 0 needs no node (1000)")
    parser.add_argument(
        "--sets", nargs="+", default=Portraits().sets, help="which sets of portraits (those that StyleGAN2 learns)"
    )
    args = parser.parse_args()
    for split in (*APART, "train"):
        art = Art.load(args.data, args.size, split=split)
        folder = args.out / ("art-trained" if split == "train" else "art")
        written(folder, split, art.pictures, [art.names[label] for label in art.labels.tolist()])
    if args.portraits:
        made = np.stack(list(strangers(args.data, install(), args.portraits, args.sets)))
        written(args.out / "portraits", f"seed-{SEED}", shrunk(made, range(len(made)), args.size))
        art = Art.load(args.data, args.size, arrays=("portraits",), by=style).only(args.sets)
        written(args.out / "portraits-trained", "train", art.pictures)


if __name__ == "__main__":
    main()
