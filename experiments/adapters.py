"""Measure the adapters that `danqing learn` trains for danqing-mini: a style from 20 pictures, a subject from 5.

    python -m experiments.adapters style twemoji --set steps=400
    python -m experiments.adapters subject pizza --set steps=300 --kind word

A style is called by a word that the model has not heard; then other things are painted in it, and the judge says of
which style they look. A subject is called so in five styles; then it is painted in every style, and the judge says
what it is. Beside stand the same pictures without the adapter, what the model paints of the true name, and what the
judge says of real art. The time is that of the process, in minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
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


def looks(judge: Judge, pictures: torch.Tensor, style: str) -> float:
    """The share that looks of a style, in percent."""
    said = [SAME.get(word, word) for word in judge.answers(pictures).first("style")]
    return 100 * sum(word == SAME.get(style, style) for word in said) / len(said)


def recognised(judge: Judge, pictures: torch.Tensor, rows: Sequence[Row], title: str) -> dict[str, float]:
    """The shares whose subject the judge tells by its first word and among five, in percent; of people none."""
    if "subject" not in rows[0]:
        return {}
    answers, subjects = judge.answers(pictures), [row["subject"] for row in rows]
    shares = {n: float(answers.right("subject", subjects, n).float().mean()) for n in (1, 5)}
    return {f"subject {title}, of {n}": 100 * share for n, share in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COUNTS)
    parser.add_argument("name", help="a style, or a subject's English name")
    parser.add_argument("--kind", choices=("lora", "word"), default="lora")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="a setting of the training")
    parser.add_argument("--count", type=int, default=48, help="how many pictures are judged")
    parser.add_argument("--portraits", action="store_true", help="a style of portraits")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS / "adapters")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge, draw, of_style = load(), random.Random(0), args.what == "style"
    array = "portraits" if args.portraits else "singles"
    pictures = np.load(args.data / f"{array}.npy", mmap_mode="r")
    every = [row for row in ledger(args.data, (array,)) if args.portraits or row["subject"] in judge.words["subject"]]
    same = [row for row in every if row["style" if of_style else "label_en"] == args.name and row["split"] == "train"]
    chosen = draw.sample(same, COUNTS[args.what])
    called = STYLE if of_style else SUBJECT
    home = args.runs / f"{args.what}-{args.name.replace(' ', '-')}-{args.kind}"

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
    else:
        names = sorted({row["style"] for row in every} - {"firefox"})
        texts, true = (
            [f"{noun(word)}, {style_name(names[i % len(names)], 'en')}" for i in range(args.count)]
            for word in (called, args.name)
        )
        others = [same[0]] * args.count
    on = f" <lora:{file.stem}>" if args.kind == "lora" else ""
    said: dict[str, Any] = {"steps": experiment.steps, "cpu minutes": spent[0], "minutes": spent[1]}
    said |= {"bytes": file.stat().st_size, "settings": changes}
    trial = {"with": [text + on for text in texts], "true name": true}
    if args.kind == "lora":
        trial["without"] = texts
    for title, prompts in trial.items():
        found = painted(prompts, home / f"{title.replace(' ', '-')}.png")
        said[f"style {title}"] = looks(judge, found, args.name) if of_style else None
        said |= recognised(judge, found, others, title)
    others = others if of_style else same
    real = torch.from_numpy(np.stack([pictures[row["index"]] for row in others])).movedim(-1, 1)
    said["style real"] = looks(judge, real, args.name) if of_style else None
    said |= recognised(judge, real, others, "real")
    said = {name: round(value, 1) if isinstance(value, float) else value for name, value in said.items()}
    (home / "measured.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
