"""Train the judge that `danqing evaluate` asks: what does a picture show? On real art alone, and on none that is held
out.

    danqing learn experiments/judge.py --minutes 60
    danqing learn experiments/judge.py --export FOLDER      one that is not there yet

It learns what the ledger says of a picture: the style; the subject of a single; of a portrait who is shown, and how. So
its score on real art that was held out is the ceiling that painted pictures are compared with. Small pictures come
first, which cost a quarter, then whole ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danqing.learn.data.order import Mixture
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import from_arrays
from danqing.measure import judge
from danqing.measure.evaluation.art import answers
from danqing.measure.evaluation.asked import apart
from danqing.nets.features import FeatureConfig
from danqing.nets.recogniser import Recogniser, RecogniserConfig
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.teach.written import machine
from experiments import cards
from experiments.art import ledger, present, shrunk
from experiments.common import DATA, averaged, by_muon, fast
from experiments.features import UNSAID, Answer, Told, coarsened

ARRAYS = ("singles", "portraits")
#: Height and width of the small pictures, in pixels.
HALF = 64
#: First and last layers, which meet the data or the words: no hidden matrices.
EDGES = ("trunk.conv_in", "trunk.out", "style", "word")
NONE = "none"
#: The part of the pictures whose hues are turned: a blue fox is a fox.
HUES = 0.15
#: What a portrait of a set that has it may do without.
OPTIONAL = ("glasses", "beard", "hat")


ASKED = ("person", "hair", "expression", "beard", "glasses", "hat", "skin", "clothes", "background")


def said(row: Mapping, has: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """What a line of the ledger answers.

    Args:
        has: the attributes that the portraits of each set may have.
    """
    if row["array"] == "singles":
        return {"style": row["style"], "subject": row["subject"]}
    lacking = dict.fromkeys(has[row["style"]].intersection(OPTIONAL), NONE)
    return {"style": row["style"], **lacking, **{q: a for q, a in answers(row["attributes"]).items() if q in ASKED}}


def kept(row: Mapping) -> bool:
    """Whether a line of the ledger is kept from the judge."""
    return row["split"] != "train" or (row["array"] == "portraits" and apart(row))


def hue(pictures: Tensor, noise: torch.Generator) -> Tensor:
    """Each picture's colours turned about the greys by an angle of its own."""
    angle = 2 * torch.pi * torch.rand(len(pictures), 1, 1, generator=noise)
    third, cross = torch.full((3, 3), 1 / 3), torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    turns = angle.cos() * torch.eye(3) + (1 - angle.cos()) * third + angle.sin() * cross
    return torch.einsum("bij,bjhw->bihw", turns, pictures)


def jitter(pictures: Tensor, noise: torch.Generator) -> Tensor:
    """Small turns, shifts, stretches and changes of brightness, by one affine map a picture; white outside."""
    n = len(pictures)
    turn, scale = 0.15 * torch.randn(n, generator=noise), 1 + 0.15 * torch.randn(n, 2, generator=noise)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() * scale[:, 0], -turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin(), turn.cos() * scale[:, 1]
    theta[:, :, 2] = 0.08 * torch.randn(n, 2, generator=noise)
    where = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures - 1, where, align_corners=False) + 1
    turned = torch.where((torch.rand(n, generator=noise) < HUES)[:, None, None, None], hue(moved, noise), moved)
    return turned * (1 + 0.1 * torch.randn(n, 3, 1, 1, generator=noise)) + 0.1 * torch.randn(
        n, 3, 1, 1, generator=noise
    )


CARD = """\
# The judge that `danqing evaluate` asks

{numbers:.2f}M parameters, pictures of 128 px to the logits of what they show: one of 1,914 subjects, one of eighteen
styles, and of a portrait who is shown and how; bf16. It learned from the art that this project's models are trained on,
and from nothing that was painted; it never saw a held-out picture, nor every tenth portrait. {steps:,} steps of {batch}
pictures, most of them of half the size: {minutes:.0f} core-minutes on {machine}.

It knows drawings alone, and can tell only what it has a word for.

## Measured

{metrics}

## Data

| source | version | licence | author | pictures trained on |
|---|---|---|---|---|
{sources}
"""


@dataclass(frozen=True, kw_only=True)
class Recognise(Experiment):
    """What the ledger says of the art.

    Args:
        decay: over how many last steps the rates fall to 0.
        small: how many first steps see pictures of half the size.
        batch: pictures a step. portraits: the part of them that are portraits.
        rate: Muon's, of the hidden matrices.
        edge_rate: AdamW's, of all else.
        average: decay of the averaged weights.
    """

    steps: Free[Count] = 1900
    decay: Free[Count] = 800
    evaluate_every: Free[Count] = 300
    data: Free[Path] = DATA
    small: Count = 1600
    batch: Count = 128
    portraits: float = 0.2
    rate: float = 0.02
    edge_rate: float = 2e-3
    average: float = 0.995
    trunk: FeatureConfig = field(
        default_factory=lambda: FeatureConfig(image_size=128, patch=4, widths=(40, 80, 160, 320), features=256)
    )

    @cached_property
    def ledger(self) -> list[dict]:
        """What the ledger says of every picture."""
        return ledger(self.data, ARRAYS)

    @cached_property
    def told(self) -> Told:
        """The answers of every line; the style is the first question."""
        has: dict[str, frozenset[str]] = {}
        for row in self.ledger:
            has[row["style"]] = has.get(row["style"], frozenset()).union(row.get("attributes", ()))
        found = Told([said(row, has) for row in self.ledger])
        found.words = {q: found.words[q] for q in sorted(found.words, key=lambda q: (q != "style", q))}
        return found

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        return {name: np.load(present(self.data / f"{name}.npy"), mmap_mode="r") for name in ARRAYS}

    @cached_property
    def halves(self) -> Mapping[str, np.ndarray]:
        """The same at half the size, each pixel the mean of four."""
        return {
            name: shrunk(array, range(len(array)), HALF).movedim(1, -1).numpy() for name, array in self.arrays.items()
        }

    def pictures(self, chosen: list[int], *, small: bool = False) -> Tensor:
        """Those of some lines, (n, 3, S, S) in [-1, 1]."""
        rows, arrays = [self.ledger[i] for i in chosen], self.halves if small else self.arrays
        return from_arrays(np.stack([arrays[row["array"]][row["index"]] for row in rows]))

    def config(self) -> RecogniserConfig:
        styles, *others = map(len, self.told.words.values())
        return RecogniserConfig(trunk=self.trunk, styles=styles, words=sum(others))

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        model = Recogniser(self.config()).to(where, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        seen = [[i for i, row in enumerate(self.ledger) if row["array"] == array and not kept(row)] for array in ARRAYS]
        order = Mixture([*map(len, seen)], [1 - self.portraits, self.portraits], self.batch, "judge")

        def batch(step: int) -> tuple[Tensor, Tensor]:
            chosen = [rows[i] for rows, items in zip(seen, order(step), strict=True) for i in items.tolist()]
            noise = keyed("judge", "jitter", step)
            shown = jitter(self.pictures(chosen, small=step < self.small), noise)
            shown = coarsened(shown, torch.rand(len(chosen), generator=noise) < 0.25)
            shown = shown.to(memory_format=torch.channels_last)
            return send(shown, where), send(self.told.labels(chosen), where)

        groups = muon_groups(model, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES, weight_decay=0.05)
        sizes = tuple(map(len, self.told.words.values()))
        return by_muon(model, Answer(sizes), batch, groups, steps=self.steps, decay=self.decay, average=self.average)

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """How often the first guess is right of real art that was kept from it, by split and question."""
        model = averaged(run, Recogniser).eval()
        found = {}
        for array, split in (("singles", "heldout_pair"), ("singles", "heldout_subject"), ("portraits", "train")):
            chosen = [i for i, r in enumerate(self.ledger) if (r["array"], r["split"]) == (array, split) and kept(r)]
            with fast(find_device()):
                parts = [model(self.pictures(chosen[n : n + 64]).to(find_device())) for n in range(0, len(chosen), 64)]
            logits = torch.cat(parts).cpu().split(tuple(map(len, self.told.words.values())), 1)
            for question, said, label in zip(self.told.words, logits, self.told.labels(chosen).unbind(1), strict=True):
                if (asked := label != UNSAID).any():
                    right = said[asked].argmax(1) == label[asked]
                    found[f"{array} {split} {question}"] = float(right.float().mean())
        return found

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged network with its words, and a card."""
        model = averaged(run, Recogniser)
        subjects = {r["subject"]: {"en": r["label_en"], "zh": r["label_zh"]} for r in self.ledger if "subject" in r}
        labels = {name: subjects[name] for name in self.told.words["subject"]}
        judge.save(folder / judge.WEIGHTS, judge.Judge(model, self.told.words, labels))
        card = CARD.format(
            numbers=cards.millions(model),
            steps=run.step,
            batch=self.batch,
            minutes=60 * core_hours,
            machine=machine(),
            metrics=cards.measured(self.evaluate(run)),
            sources=cards.sources(row for row in self.ledger if not kept(row)),
        )
        (folder / "CARD.md").write_text(card, encoding="utf-8")
