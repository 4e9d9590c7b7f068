"""Translate art from one style into another without pairs, 64 px: Noto's into Fluent's flat one.

    danqing learn experiments/cyclegan.py --minutes 60

The same subject is drawn in both styles, so the truth is known. The training does not use it: each style comes in an
order of its own, and the pictures whose truth is measured are apart. A sheet of samples has rows of four: the picture,
its translation, the truth, and the translation back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from danqing.errors import InvalidInput
from danqing.learn.data.order import Order
from danqing.learn.measures.quality import ssim
from danqing.learn.objectives.cycle import Cycle, Pool, Translators
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.levels import levels_of, to_arrays
from danqing.nets import cyclegan
from danqing.nets.cyclegan import CycleGAN, CycleGANConfig, PatchGAN, PatchGANConfig
from danqing.run.device import find_device, send
from danqing.run.precision import autocast, scaler
from experiments import cards
from experiments.art import ledger, present, shrunk, style
from experiments.common import DATA, adams, averaged, fast, grid

SIZE = 64
#: What people call a style that the ledger names otherwise.
CALLED = {"flat": "fluent"}
WORDS = cards.Words(
    summary="64 px art of the style {a} in the style {b}, by CycleGAN",
    about="""CycleGAN (Zhu et al. 2017) of 64 px art: it makes a picture of the style {a} one of {b}. It learned from
pictures of each style that were not paired, beside a translator the other way, which is left out here.""",
    limits="It changes colours, edges and shading, not what is drawn. It needs a picture to begin with.",
)


@dataclass(frozen=True, kw_only=True)
class Styles:
    """The art of two styles, as bytes (N, 3, S, S).

    Args:
        a, b: for training, each in an order that knows nothing of the other.
        source, truth: the same subjects in a and in b, of which the second is in no training.
    """

    a: Tensor
    b: Tensor
    source: Tensor
    truth: Tensor

    @classmethod
    def load(cls, data: Path, a: str, b: str) -> Styles:
        """Of two styles' names; errors as those of `chosen`."""
        pictures = np.load(present(data / "singles.npy"), mmap_mode="r")
        return cls(
            **{
                name: shrunk(pictures, [row["index"] for row in rows], SIZE)
                for name, rows in chosen(data, a, b).items()
            }
        )


def chosen(data: Path, a: str, b: str) -> dict[str, list[dict]]:
    """The lines of the ledger of each field of `Styles`.

    Raises:
        InvalidInput: there is no art of one of the styles, or none apart whose truth is known.
    """
    rows = [row for row in ledger(data, ("singles",)) if style(row) in (a, b)]
    train = {each: [row for row in rows if style(row) == each and row["split"] == "train"] for each in (a, b)}
    of_a = {row["subject"]: row for row in rows if style(row) == a}
    apart = [row for row in rows if style(row) == b and row["split"] != "train" and row["subject"] in of_a]
    if not (train[a] and train[b] and apart):
        raise InvalidInput(
            f"{data} has not enough art of {a!r} and {b!r}: name two styles of its ledger that share subjects"
        )
    hidden = {row["subject"] for row in apart}
    return {
        "a": [row for row in train[a] if row["subject"] not in hidden],
        "b": train[b],
        "source": [of_a[row["subject"]] for row in apart],
        "truth": apart,
    }


@dataclass(frozen=True, kw_only=True)
class Translation(Experiment):
    """One style into another.

    Args:
        a, b: the styles, as the ledger names them.
        batch: pictures of each style a step.
        rate: Adam's learning rate; it falls to zero over the second half.
        cycle, identity: weights, see `Cycle`.
        pool: how many translations are remembered for each discriminator.
        average: decay of the averaged translators.
    """

    steps: Count = 12000
    data: Free[Path] = DATA
    a: str = "noto"
    b: str = "flat"
    batch: Count = 4
    rate: float = 2e-4
    cycle: float = 10.0
    identity: float = 0.5
    pool: int = 50
    average: float = 0.998
    net: CycleGANConfig = field(default_factory=lambda: cyclegan.MINI)
    judge: PatchGANConfig = field(default_factory=lambda: cyclegan.PATCH_34)

    @cached_property
    def styles(self) -> Styles:
        """The art of both."""
        return Styles.load(self.data, self.a, self.b)

    def training(self) -> Training:
        torch.manual_seed(0)
        where, styles = find_device(), self.styles
        model = Translators(
            forth=CycleGAN(self.net),
            back=CycleGAN(self.net),
            judge_a=PatchGAN(self.judge),
            judge_b=PatchGAN(self.judge),
            pool_a=Pool(self.pool, (3, SIZE, SIZE)),
            pool_b=Pool(self.pool, (3, SIZE, SIZE)),
        ).to(where)
        orders = [
            (some, Order(len(some), self.batch, f"cyclegan/{name}"))
            for name, some in (("a", styles.a), ("b", styles.b))
        ]

        def batch(index: int) -> tuple[Tensor, ...]:
            return tuple(levels_of(send(some[order(index)], where)) for some, order in orders)

        return Training(
            model=model,
            objective=Cycle(cycle=self.cycle, identity=self.identity),
            batches=batch,
            optimisers=adams(model, {"generator": self.rate, "discriminator": self.rate}, (0.5, 0.999)),
            rate=Trapezoid(1, self.steps, self.steps // 2),
            ema=EMA(model, self.average),
            clip=math.inf,
            autocast=lambda: fast(where),
            scaler=scaler(where),
        )

    def _translators(self, run: Training) -> tuple[nn.Module, nn.Module, torch.device]:
        both = averaged(run, Translators).generator
        return both["forth"], both["back"], next(both.parameters()).device

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        forth, back, where = self._translators(run)
        styles = self.styles
        some = slice(None, None, max(1, len(styles.source) // 16))
        source, truth = (levels_of(send(x[some][:16], where)) for x in (styles.source, styles.truth))
        with autocast(where):
            made = forth(source)
            again = back(made)
        return grid(to_arrays(torch.stack([source, made.float(), truth, again.float()], 1).flatten(0, 1)), 8)

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """Similarity to the truth, of the translation, and of what costs nothing: the picture as it is, the mean
        picture of b."""
        forth, _, where = self._translators(run)
        styles = self.styles
        source, truth, b = (levels_of(send(x, where)) for x in (styles.source, styles.truth, styles.b))
        with autocast(where):
            made = torch.cat([forth(part).float() for part in source.split(64)])
        guesses = {"translated": made, "as it is": source, "mean picture": b.mean(0, keepdim=True).expand_as(truth)}
        return {f"ssim {name}": float(ssim(guess, truth).mean()) for name, guess in guesses.items()}

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        forth, _, _ = self._translators(run)
        rows = chosen(self.data, self.a, self.b)
        cards.write(
            folder,
            run,
            core_hours,
            name="cyclegan",
            parts={"generator": forth},
            words=WORDS.of(a=self.a, b=self.b),
            rows=rows["a"] + rows["b"],
            batch=2 * self.batch,
            defaults={"width": SIZE, "height": SIZE},
            metrics=self.evaluate(run),
            text={"kind": "styles", "names": [CALLED.get(self.b, self.b)]},
        )
