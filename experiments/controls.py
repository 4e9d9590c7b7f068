"""Train a control network for danqing-mini on the art, and measure it: how far edges are followed, with and without it.

    python -m experiments.controls edges --set steps=4000 --minutes 60
    python -m experiments.controls edges --measure 48
    python -m experiments.controls edges --ship zoo/families/danqing_models/controlnet/danqing-mini-edges.safetensors

Held-out pictures give the hints; painted is what their captions say. F1 is that of edge pixels, each of which counts as
found where another lies within two pixels; of any other hint it is the mean distance of colours, as levels of 0 to 1.
What ships has its weights in 8 bits, a step for each output.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import danqing
from danqing.cli.learn.training import trained
from danqing.learn.training.experiment import overridden
from danqing.learn.training.export import at_last
from danqing.painting.adapters.hinting import hinted
from danqing.pictures.sheet import contact
from danqing.teach.adapters.control import OwnControl
from danqing.weights import store
from danqing.weights.bits import Rows
from danqing.weights.formats.few import BITS_KEY, VERSION
from experiments.adapters import folder
from experiments.art import ledger
from experiments.captions import canonical
from experiments.common import DATA, RUNS

#: Of the singles so many are learned from.
LEARNED = 8000
#: Within how many pixels an edge is found.
NEAR = 2
#: Smaller tensors are kept as they are.
FEW = 1024


def edge_f1(one: Image.Image, other: Image.Image) -> float:
    """F1 of the light pixels of two hints, 0 to 1."""
    a, b = (torch.from_numpy(np.asarray(each.convert("L")) > 127).float()[None, None] for each in (one, other))
    wide_a, wide_b = (F.max_pool2d(each, 2 * NEAR + 1, 1, NEAR) for each in (a, b))
    if not a.any() or not b.any():
        return float(not a.any() and not b.any())
    precision, recall = float((b * wide_a).sum() / b.sum()), float((a * wide_b).sum() / a.sum())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def colour_distance(one: Image.Image, other: Image.Image) -> float:
    """The mean distance of the hints' pixels, of 1, as levels."""
    a, b = (np.asarray(each.convert("RGB"), np.float32) / 255 for each in (one, other))
    return float(np.sqrt(np.square(a - b).sum(-1)).mean())


def followed(kind: str, hint: Image.Image, text: str, seed: int, controls: list[str]) -> tuple[Image.Image, float]:
    """What the default model paints of a text, and its score: how near its hint is to the one that was asked for, F1 of
    edges, of any other the distance of colours."""
    painted = danqing.paint(text, seed=seed, style="none", finish=(), controls=controls).image.convert("RGB")
    return painted, score_of(kind)(hint, hinted(painted, kind))


def score_of(kind: str) -> Callable[[Image.Image, Image.Image], float]:
    """How two hints of a kind are compared."""
    return edge_f1 if kind.startswith("edges") else colour_distance


def ship(file: Path, out: Path) -> Path:
    """Write a network's file anew, its matrices and kernels in 8 bits."""
    tensors, metadata = store.read(file), store.header(file).metadata
    few = {name: tensors.pop(name) for name in list(tensors) if tensors[name].ndim > 1 and tensors[name].numel() > FEW}
    parts = {f"{name}.{own}": part for name, weight in few.items() for own, part in Rows.of(weight).parts().items()}
    said = {name: ("rows", "BF16", list(weight.shape)) for name, weight in few.items()}
    stated = json.dumps({"version": VERSION, "weights": said}, sort_keys=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    return store.write(out, {**tensors, **parts}, {**metadata, BITS_KEY: stated})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hint")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="a setting of the training")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--measure", type=int, default=0, metavar="N", help="train nothing, measure on N pictures")
    parser.add_argument("--ship", type=Path, metavar="FILE", help="train nothing, write what was learned in 8 bits")
    parser.add_argument("--file", type=Path, help="measure this one")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS / "controls")
    args = parser.parse_args()
    torch.set_num_threads(1)
    home, pictures = args.runs / args.hint, np.load(args.data / "singles.npy", mmap_mode="r")
    draw, rows = random.Random(0), ledger(args.data, ("singles",))
    own = args.runs / "art"
    if not own.is_dir():
        learned = draw.sample([row for row in rows if row["split"] == "train"], LEARNED)
        folder(own, pictures, learned, lambda row: canonical(row))
    usual = ["middle=one", "words=false", f"hint={args.hint}"]
    experiment: OwnControl = overridden(OwnControl(folder=own), [*usual, *args.changes])
    if not args.measure and not args.ship:
        trained(experiment, home, args.minutes)
        return
    file = args.file or experiment.file(at_last(experiment, home, ""), home)
    if args.ship:
        print(ship(file, args.ship))
        return
    held = draw.sample([row for row in rows if row["split"] == "heldout_pair"], args.measure)
    found: dict[str, list[float]] = {"with": [], "without": []}
    sheet = []
    for i, row in enumerate(held):
        picture = Image.fromarray(pictures[row["index"]])
        hint = hinted(picture, args.hint)
        picture.save(home / "hint.png")
        line = [picture, hint]
        for name, controls in (("with", [f"{args.hint}@{file}:{home / 'hint.png'}"]), ("without", [])):
            painted, score = followed(args.hint, hint, canonical(row), i, controls)
            found[name].append(score)
            line.append(painted)
        sheet += line if i < 16 else []
    contact(sheet, 8).save(home / f"measured-{file.stem}.png")
    said = {name: round(float(np.mean(values)), 3) for name, values in found.items()}
    said |= {"pictures": args.measure, "bytes": file.stat().st_size}
    (home / "measured.json").write_text(json.dumps(said), encoding="utf-8")
    print(json.dumps(said))


if __name__ == "__main__":
    main()
