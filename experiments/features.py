"""Train the network whose features `danqing compare` measures in: a classifier of the art, 64 px, on what is trained on
alone.

    danqing learn experiments/features.py --minutes 10
    danqing learn experiments/features.py --export zoo/families/danqing_models/features    a new folder

It learns what the ledger says of a picture: its style; of a single the subject's group; of a portrait who is shown, and
how. Half of the pictures lose their finer half of detail, for those of smaller models have none either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import levels_of
from danqing.measure.features import WEIGHTS
from danqing.nets import features
from danqing.nets.features import FeatureConfig, Features
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.teach.written import machine
from danqing.weights import store
from experiments import cards
from experiments.art import Art, ledger
from experiments.common import DATA, averaged, by_muon, fast

ARRAYS = ("singles", "portraits")
#: First and last layers, which meet the data or the words: no hidden matrices.
EDGES = ("trunk.conv_in", "trunk.out", "heads")
#: The label of what is not said of a picture.
UNSAID = -1


class Told:
    """What is said of the art: for each question, "style" or "hair", the words that answer it; for each picture their
    numbers.

    Args:
        answers: of each picture, question -> word.
    """

    def __init__(self, answers: Sequence[Mapping[str, str]]):
        self.answers = answers
        asked = sorted({question for each in self.answers for question in each})
        self.words = {q: sorted({each[q] for each in self.answers if q in each}) for q in asked}

    def labels(self, chosen: list[int]) -> Tensor:
        """(n, questions), int64, `UNSAID` where nothing is said."""
        places = {q: {word: i for i, word in enumerate(words)} for q, words in self.words.items()}
        return torch.tensor([[places[q].get(self.answers[i].get(q, ""), UNSAID) for q in self.words] for i in chosen])


def answers(row: Mapping) -> dict[str, str]:
    """What a line of the ledger answers."""
    if row["array"] == "singles":
        return {"style": row["style"], "subject": row["subgroup"]}
    return {"style": row["style"], **{slot: said["en"] for slot, said in row["attributes"].items()}}


class Classifier(nn.Module):
    """Features to the logits of every question's words, side by side."""

    def __init__(self, config: FeatureConfig, words: int):
        super().__init__()
        self.trunk = Features(config)
        self.heads = nn.Linear(config.features, words)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.heads(self.trunk(pictures))


@dataclass(frozen=True)
class Answer:
    """The cross entropy of each question that a picture answers, added up.

    Args:
        sizes: how many words each question has.
        smoothing: of the labels.
    """

    sizes: tuple[int, ...]
    smoothing: float = 0.1

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        pictures, labels = batch
        logits = model(pictures).float().split(self.sizes, 1)
        each = [
            F.cross_entropy(part, label, ignore_index=UNSAID, label_smoothing=self.smoothing, reduction="sum")
            for part, label in zip(logits, labels.unbind(1), strict=True)
        ]
        return {"loss": torch.stack(each).sum() / len(pictures)}


def coarsened(pictures: Tensor, which: Tensor) -> Tensor:
    """Pictures (B, 3, S, S), those of ``which`` (B,) with each 2 x 2 block made its mean, and enlarged again as
    `danqing compare` does."""
    coarse = F.interpolate(F.avg_pool2d(pictures, 2), scale_factor=2.0, mode="nearest")
    return torch.where(which[:, None, None, None], coarse, pictures)


CARD = """\
# The features that `danqing compare` measures in

{numbers:.2f}M parameters, {size} px pictures to {features} features, bf16. The trunk of a classifier that learned
style, group of the subject and a portrait's attributes from the art that this project's models are trained on; it never
saw a held-out picture. Trained for {steps:,} steps of {batch} pictures: {minutes:.0f} core-minutes on {machine}.

It knows drawings alone. Distances in its features say nothing about photographs, and cannot be compared with a
published FID.

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
        batch: pictures a step.
        rate: Muon's, of the hidden matrices.
        edge_rate: AdamW's, of all else.
        average: decay of the averaged weights.
    """

    steps: Free[Count] = 2000
    decay: Free[Count] = 800
    data: Free[Path] = DATA
    batch: Count = 64
    rate: float = 0.02
    edge_rate: float = 2e-3
    average: float = 0.995
    net: FeatureConfig = field(default_factory=lambda: features.ART)

    @cached_property
    def ledger(self) -> list[dict]:
        """What the ledger says of every picture, array after array as `Art.load` has them."""
        return [row for array in ARRAYS for row in ledger(self.data, (array,))]

    @cached_property
    def told(self) -> Told:
        return Told([*map(answers, self.ledger)])

    def shown(self, split: str) -> tuple[Art, Tensor]:
        """The art of a split, and what is said of it, (N, questions)."""
        rows = [i for i, row in enumerate(self.ledger) if row["split"] == split]
        art = Art.load(self.data, self.net.image_size, arrays=ARRAYS, split=split)
        return Art(pictures=art.pictures, labels=torch.arange(len(rows)), names=art.names), self.told.labels(rows)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        art, labels = self.shown("train")
        batches = art.batches(self.batch, "features", mirror=True)
        sizes = tuple(map(len, self.told.words.values()))
        model = Classifier(self.net, sum(sizes)).to(where)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            pictures, chosen = batches(step)
            which = torch.rand(self.batch, generator=keyed("features", "coarse", step)) < 0.5
            return send(coarsened(levels_of(pictures), which), where), send(labels[chosen], where)

        groups = muon_groups(model, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES)
        return by_muon(model, Answer(sizes), batch, groups, steps=self.steps, decay=self.decay, average=self.average)

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """How often style and subject of pictures that were never seen are the first guess, whole and coarsened."""
        model = averaged(run, Classifier)
        art, labels = self.shown("heldout_pair")
        sizes, found = tuple(map(len, self.told.words.values())), {}
        for name, coarse in (("", False), (" coarsened", True)):
            seen = coarsened(levels_of(art.pictures), torch.full((len(labels),), coarse)).to(find_device())
            with fast(find_device()):
                logits = torch.cat([model(part) for part in seen.split(64)]).cpu().split(sizes, 1)
            for question in ("style", "subject"):
                at = list(self.told.words).index(question)
                found[f"held out {question}{name}"] = float((logits[at].argmax(1) == labels[:, at]).float().mean())
        return found

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged trunk without its heads, and a card."""
        trunk = averaged(run, Classifier).trunk
        weights = {name: tensor.cpu().bfloat16() for name, tensor in trunk.state_dict().items()}
        store.write(folder / WEIGHTS, weights, {"config": json.dumps(asdict(self.net))})
        card = CARD.format(
            numbers=cards.millions(trunk),
            size=self.net.image_size,
            features=self.net.features,
            steps=run.step,
            batch=self.batch,
            minutes=60 * core_hours,
            machine=machine(),
            metrics=cards.measured(self.evaluate(run)),
            sources=cards.sources(row for row in self.ledger if row["split"] == "train"),
        )
        (folder / "CARD.md").write_text(card, encoding="utf-8")
