"""Measure the shipped model on what it never saw: is the held-out subject recognised in the held-out style, in both
languages?

    python -m experiments.evaluate                   all of it, ten minutes on two cores
    python -m experiments.evaluate --pictures 150

The judge (`experiments.judge`) was trained on real art without the held-out pictures; the real held-out pictures' own
score stands beside the painted ones'. Which of seven looks a picture has is told by `experiments.looks`. Writes
runs/evaluation.md, which the card
quotes, and a contact sheet: real, English, Chinese.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from danqing.levels import from_arrays
from danqing.painting.load import load
from danqing.request.request import Request
from experiments.captions import canonical
from experiments.common import DATA, RUNS, grid, set_up
from experiments.judge import Judge, Labels, score
from experiments.latents import averaged
from experiments.looks import Looks

COLUMNS = ("subject", "subject in five", "style", "look")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument(
        "--pictures", type=int, default=1000, help="at most so many of each kind, the same ones at every run"
    )
    parser.add_argument("--scale", type=float, default=None, help="guidance; the model's own where not given")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)

    labels = Labels(args.data)
    judge = Judge(len(labels.subjects), len(labels.styles))
    averaged(args.runs / "judge" / "last.pt", judge)
    pictures = np.load(args.data / "singles.npy", mmap_mode="r")
    painter = load()
    looks = Looks.learned(labels.rows, pictures)
    report = ["| pictures | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]

    for split, title in (("heldout_pair", "held-out pairs"), ("heldout_subject", "held-out styles of 20 subjects")):
        rows = [row for row in labels.rows if row["split"] == split]
        rows = random.Random(0).sample(rows, min(args.pictures, len(rows)))
        truth, shown = labels.of(rows), {"real": np.stack([pictures[row["index"]] for row in rows])}
        for lang, name in (("en", "painted, English"), ("zh", "painted, Chinese")):
            said = (canonical(row, lang) for row in rows)
            requests = [
                Request(prompt=prompt, seed=1, index=i, scale=args.scale, finish=()) for i, prompt in enumerate(said)
            ]
            shown[name] = np.stack([np.asarray(painter.paint(request).image) for request in requests])
        for name, drawn in shown.items():
            scores = score(judge, from_arrays(drawn), *truth) | {
                "look": looks.told(drawn, [row["style"] for row in rows])
            }
            report.append(
                f"| {title} ({len(rows)}), {name} | " + " | ".join(f"{scores[c]:.1f} %" for c in COLUMNS) + " |"
            )
            print(report[-1], flush=True)
        triples = [picture for three in zip(*shown.values(), strict=True) for picture in three][:72]
        grid(triples, 12).save(args.runs / f"evaluation-{split}.png")
    (args.runs / "evaluation.md").write_text("\n".join(report) + "\n")


if __name__ == "__main__":
    main()
