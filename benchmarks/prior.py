"""What a prior keeps: a subject learned from five pictures, with and without pictures of its class beside.

    taskset -c 0 python benchmarks/prior.py [--steps 300] [--count 48] [--write]

The subject, called by a word that the model has not heard, is learned as `experiments.adapters` does it; with the prior
"food" the model also learns what it painted of that before. Then it paints the subject, and other food, with the LoRA
on: the judge says how often the subject is what it is, and the other food what that is, by five guesses, and how often
other food has become the subject, by one. Beside stands the model as it was. The art must lie in data/.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danqing.cli.learn.training import trained
from danqing.learn.training.experiment import overridden
from danqing.learn.training.export import at_last
from danqing.measure.evaluation.art import noun
from danqing.measure.judge import Judge, load
from danqing.store.settings import MODELS
from danqing.teach.adapters.lora import OwnLoRA
from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from experiments.adapters import COUNTS, SUBJECT, folder, painted
from experiments.art import ledger
from experiments.captions import canonical
from experiments.common import DATA

LEARNED, PRIOR = "pizza", "food"
OTHERS = ("hamburger", "taco", "bread", "cheese wedge", "cooked rice", "sushi", "doughnut", "cookie", "pancakes", "pie")
Figures = tuple[float, float, float]


def share(judge: Judge, pictures: torch.Tensor, subjects: Sequence[str], among: int) -> float:
    """In percent, how often the judge tells these subjects by so many guesses."""
    return 100 * float(judge.answers(pictures).right("subject", list(subjects), among).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--count", type=int, default=48, help="pictures of the subject, and of other food")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--write", action="store_true", help="put the table into docs/adapters.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge, draw = load(), random.Random(0)
    pictures = np.load(args.data / "singles.npy", mmap_mode="r")
    known = {row["label_en"]: row["subject"] for row in ledger(args.data, ("singles",))}
    others = [each for each in OTHERS if known.get(each) in judge.words["subject"]]
    same = [row for row in ledger(args.data, ("singles",)) if row["label_en"] == LEARNED and row["split"] == "train"]
    chosen = draw.sample(same, COUNTS["subject"])
    asked = [others[i % len(others)] for i in range(args.count)]

    def figures(home: Path, called: str, on: str) -> Figures:
        own = painted([f"{noun(called)}{on}"] * args.count, home / "subject.png")
        rest = painted([f"{noun(each)}{on}" for each in asked], home / "others.png")
        learned = [known[LEARNED]] * args.count
        kept, become = share(judge, rest, [known[each] for each in asked], 5), share(judge, rest, learned, 1)
        return share(judge, own, learned, 5), kept, become

    found = dict[str, Figures]()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        own = folder(home / SUBJECT, pictures, chosen, lambda row: canonical(row).replace(LEARNED, SUBJECT))
        for title, prior in {"without a prior": "", f'with the prior "{PRIOR}"': PRIOR}.items():
            changes: list[Any] = [f"steps={args.steps}", f"prior={prior}", "sample_every=1000000"]
            run = home / (prior or "none")
            experiment: OwnLoRA = overridden(OwnLoRA(folder=own), changes)
            trained(experiment, run, float("inf"))
            place = run / "models" / "loras"
            place.mkdir(parents=True)
            name = experiment.file(at_last(experiment, run, ""), place).stem
            os.environ[MODELS] = str(run / "models")
            found[title] = figures(run, SUBJECT, f" <lora:{name}>")
        found["no LoRA, by its true name"] = figures(home, LEARNED, "")
    lines = [
        f"| {args.steps} steps, {args.count} pictures each | subject recognised | other food recognised | become it |",
        "|---|---|---|---|",
        *(f"| {title} | {a:.0f} % | {b:.0f} % | {c:.0f} % |" for title, (a, b, c) in found.items()),
    ]
    print("\n".join(lines))
    if args.write:
        put("docs/adapters.md", "prior", "\n".join(lines))


if __name__ == "__main__":
    main()
