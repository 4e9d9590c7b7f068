"""Measure the adapters that `danqing learn` trains for danqing-mini: a style from 20 pictures, a subject from 5.

    python -m experiments.adapters style twemoji --set steps=400
    python -m experiments.adapters subject pizza koala "oncoming bus" --count 28
    python -m experiments.adapters subject pizza --set steps=300 --kind word

A style is called by a word that the model has not heard; then other things are painted in it, and the judge says of
which style they look. A subject is called so in five styles; then it is painted in every style, and the judge says
what it is, of the styles that it was learned in and of the others apart. Beside stand the same pictures without the
adapter, what the model paints of the true name, and what the judge says of real art: of a subject, of the real picture
in each of the styles that are asked for, so that what the judge cannot tell is seen. Of several names each is learned
by itself, and a last line has all their pictures together. The time is that of the process, in minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import danqing
from danqing.cli.learn.training import trained
from danqing.learn.training.experiment import overridden
from danqing.learn.training.export import at_last
from danqing.measure.evaluation.art import noun
from danqing.measure.evaluation.scores import SAME
from danqing.measure.judge import Judge, load
from danqing.pictures.sheet import contact
from danqing.store.settings import MODELS
from danqing.teach.adapters.base import OwnAdapter
from danqing.teach.adapters.table import ADAPTERS
from experiments.art import ledger
from experiments.captions import canonical, style_name
from experiments.common import DATA, RUNS

Row = Mapping[str, Any]
#: What the new style and the new subject are called.
STYLE, SUBJECT = "inkfolk", "zorb"
#: How many pictures a style and a subject are learned from.
COUNTS = {"style": 20, "subject": 5}


def folder(where: Path, pictures: np.ndarray, rows: Sequence[Row], caption: Callable[[Row], str]) -> Path:
    """Pictures with their captions beside them."""
    where.mkdir(parents=True, exist_ok=True)
    for row in rows:
        Image.fromarray(pictures[row["index"]]).save(where / f"{row['index']:05}.png")
        (where / f"{row['index']:05}.txt").write_text(caption(row), encoding="utf-8")
    return where


def painted(prompts: Sequence[str], sheet: Path) -> torch.Tensor:
    """What the model paints of prompts, bytes (N, 3, H, W), and a sheet of the first 32."""
    found = [danqing.paint(text, seed=i, style="none", finish=()).image for i, text in enumerate(prompts)]
    contact(found[:32], 8).save(sheet)
    return torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in found])).movedim(-1, 1)


def looks(judge: Judge, pictures: torch.Tensor, style: str) -> list[bool]:
    """Of each picture whether it looks of a style."""
    said = [SAME.get(word, word) for word in judge.answers(pictures).first("style")]
    return [word == SAME.get(style, style) for word in said]


def recognised(judge: Judge, pictures: torch.Tensor, rows: Sequence[Row], title: str) -> dict[str, list[bool]]:
    """Of each picture whether the judge tells its subject by its first word and among five; of people none."""
    if "subject" not in rows[0]:
        return {}
    answers, subjects = judge.answers(pictures), [row["subject"] for row in rows]
    return {f"subject {title}, of {n}": answers.right("subject", subjects, n).tolist() for n in (1, 5)}


def share(found: Sequence[bool]) -> float | None:
    """In percent, of none None."""
    return round(100 * sum(found) / len(found), 1) if found else None


@dataclass(frozen=True)
class Measured:
    """What was seen of one name.

    Args:
        said: as it is.
        pictures: of each picture whether it is as it should be, by what is asked.
    """

    said: Mapping[str, Any]
    pictures: Mapping[str, Sequence[bool]]

    @property
    def record(self) -> dict[str, Any]:
        """With the shares in percent."""
        return {**self.said, **{name: share(each) for name, each in self.pictures.items()}}


def together(found: Sequence[Measured]) -> dict[str, Any]:
    """The shares of all pictures of several names."""
    names = dict.fromkeys(chain.from_iterable(each.pictures for each in found))
    every = {name: [right for each in found for right in each.pictures.get(name, ())] for name in names}
    return {"pictures": len(next(iter(every.values()))), **{name: share(each) for name, each in every.items()}}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COUNTS)
    parser.add_argument("names", nargs="+", metavar="name", help="styles, or subjects' English names")
    parser.add_argument("--kind", choices=("lora", "word"), default="lora")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="a setting of the training")
    parser.add_argument("--draw", type=int, default=0, help="which pictures are learned")
    parser.add_argument("--count", type=int, default=48, help="how many pictures of each name are judged")
    parser.add_argument("--alone", action="store_true", help="paint with the adapter, and not beside it without")
    parser.add_argument("--portraits", action="store_true", help="a style of portraits")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS / "adapters")
    return parser.parse_args()


def measured(args: argparse.Namespace, name: str, judge: Judge) -> Measured:
    """Learn a name and judge what is painted by it."""
    draw, of_style = random.Random(args.draw), args.what == "style"
    array = "portraits" if args.portraits else "singles"
    pictures = np.load(args.data / f"{array}.npy", mmap_mode="r")
    every = [row for row in ledger(args.data, (array,)) if args.portraits or row["subject"] in judge.words["subject"]]
    of_name = [row for row in every if row["style" if of_style else "label_en"] == name]
    same = [row for row in of_name if row["split"] == "train"]
    chosen = draw.sample(same, COUNTS[args.what])
    called = STYLE if of_style else SUBJECT
    home = args.runs / f"{args.what}-{name.replace(' ', '-')}-{args.kind}-{args.draw}"

    def caption(row: Row) -> str:
        true = row["label_en"] if not of_style else style_name(row["style"], "en")
        return canonical(row).replace(true, called)

    own = folder(home / called, pictures, chosen, caption)
    changes = [*args.changes, *([f"word={called}"] if args.kind == "word" else [])]
    experiment: OwnAdapter = overridden(ADAPTERS[args.kind].made()(folder=own), changes)
    before, clock = time.process_time(), time.monotonic()
    trained(experiment, home, float("inf"))
    spent = (time.process_time() - before) / 60, (time.monotonic() - clock) / 60
    models = home / "models"
    place = models / {"lora": "loras", "word": "embeddings"}[args.kind]
    place.mkdir(parents=True, exist_ok=True)
    file = experiment.file(at_last(experiment, home, ""), place)
    os.environ[MODELS] = str(models)

    if of_style:
        known = {caption(row) for row in chosen}
        others = draw.sample([row for row in same if caption(row) not in known], args.count)
        texts, true = [caption(row) for row in others], [canonical(row) for row in others]
        asked, real = [name] * args.count, others
    else:
        names = sorted({row["style"] for row in every} - {"firefox"})
        asked = [names[i % len(names)] for i in range(args.count)]
        texts, true = ([f"{noun(word)}, {style_name(style, 'en')}" for style in asked] for word in (called, name))
        others = [same[0]] * args.count
        in_style = {row["style"]: row for row in of_name}
        real = [in_style[style] for style in asked if style in in_style]
    on = f" <lora:{file.stem}>" if args.kind == "lora" else ""
    trial = {"with": [text + on for text in texts]}
    if not args.alone:
        trial |= {"true name": true, **({"without": texts} if args.kind == "lora" else {})}
    found = dict[str, list[bool]]()

    def judged(title: str, seen: torch.Tensor, rows: Sequence[Row]) -> None:
        if of_style:
            found[f"style {title}"] = looks(judge, seen, name)
        found.update(recognised(judge, seen, rows, title))

    for title, prompts in trial.items():
        judged(title, painted(prompts, home / f"{title.replace(' ', '-')}.png"), others)
    judged("real", torch.from_numpy(np.stack([pictures[row["index"]] for row in real])).movedim(-1, 1), real)
    if not of_style:
        learned = {row["style"] for row in chosen}
        for which, there in {"learned styles": True, "other styles": False}.items():
            right = zip(asked, found["subject with, of 1"], strict=True)
            found[f"subject with, of 1, {which}"] = [each for style, each in right if (style in learned) is there]
    said = {"name": name, "draw": args.draw, "steps": experiment.steps, "cpu minutes": round(spent[0], 1)}
    said |= {"minutes": round(spent[1], 1), "bytes": file.stat().st_size, "settings": changes}
    whole = Measured(said, found)
    (home / "measured.json").write_text(json.dumps(whole.record, indent=1), encoding="utf-8")
    print(json.dumps(whole.record, indent=1), flush=True)
    return whole


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    judge = load()
    print(json.dumps(together([measured(args, name, judge) for name in args.names]), indent=1))


if __name__ == "__main__":
    main()
