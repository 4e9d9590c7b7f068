"""Train StyleGAN2 on the drawn portraits, 64 px.

    danqing learn experiments/stylegan2.py --minutes 60
    danqing learn experiments/stylegan2.py --set start=stylegan2 --set generator_rate=3e-4      trains that model on

A sheet of samples has three parts: portraits truncated by 0.7, the same without truncation, and the coarse styles of
the first portrait of each row with the fine ones of its column.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from danqing.learn.data.augment import Augment
from danqing.learn.objectives.adversarial import Adversarial, Adversaries, Styled
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import EMA, Objective, Training
from danqing.levels import levels_of, to_arrays
from danqing.nets import stylegan2
from danqing.nets.stylegan2 import (
    StyleGAN2,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    mixed,
)
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.run.precision import training_precision
from danqing.store.find import find
from danqing.weights.load import load
from experiments import cards
from experiments.art import Art, ledger, style
from experiments.common import DATA, adams, averaged, fast, grid

COLUMNS = 8
WORDS = cards.Words(
    summary="64 px drawn portraits of nobody, by StyleGAN2",
    about="""StyleGAN2 (Karras et al. 2020) of 64 px portraits: a face in one pass of the network, from a vector of
noise. The coarse styles of one face go with the fine ones of another. Truncation trades variety for likeness: 1 is all
of it, 0 the mean face.""",
    limits="""Drawn portraits of a few sets, and nothing else. The pictures are drawings by
licence: no photograph of a person was used. It hears no prompt.""",
)


@dataclass(frozen=True, kw_only=True)
class Late:
    """``rules``, under which the generator rests until a step: a new discriminator would lead one astray that is
    trained already."""

    rules: Adversarial
    until: int

    def at(self, step: int) -> Objective:
        """The objective of one step."""
        rules = self.rules.at(step)
        return replace(self, rules=rules) if step < self.until else rules

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Tensor | None], noise: torch.Generator
    ) -> dict[str, Tensor | None]:
        return {**self.rules(model, batch, noise), "generator": None}


def begun(net: StyleGAN2, start: str) -> StyleGAN2:
    """The generator with the weights of a model, by its name or folder."""
    model = find(start)
    net.load_state_dict(load(model.path(model.components["generator"].file), dtype=torch.float32).state_dict())
    return net


@dataclass(frozen=True, kw_only=True)
class Portraits(Experiment):
    """Faces out of noise.

    Args:
        start: the name or the folder of a model whose generator is trained on; empty for a new one.
        alone: for how many steps the discriminator then learns alone.
        sets: of portraits, as the ledger names their styles; these are coloured, and their heads stand alike.
        batch: pictures a step.
        rate, generator_rate: learning rates of the discriminator's and the generator's Adam.
        r1: gamma; 0.0002 px² / batch is the heuristic of Karras et al. 2020b.
        path: weight of the path length regulariser.
        mixing: how often a batch has the styles of two latents.
        speed: how many pictures move the probability of augmentations by 1; the paper's 500,000 is for long trainings.
        average: half-life of the averaged generator, in pictures.
    """

    steps: Free[Count] = 20000
    data: Free[Path] = DATA
    start: str = ""
    alone: Count = 1000
    sets: tuple[str, ...] = ("adventurer", "big-smile", "dylan", "micah", "personas", "toon-head")
    batch: Count = 8
    rate: float = 0.002
    generator_rate: float = 0.002
    r1: float = 1.0
    path: float = 2.0
    mixing: float = 0.9
    speed: float = 100_000
    average: float = 5_000
    net: StyleGAN2Config = field(default_factory=lambda: stylegan2.MINI)
    judge: StyleGAN2DiscriminatorConfig = field(default_factory=lambda: stylegan2.MINI_DISCRIMINATOR)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        art = Art.load(self.data, self.net.resolution, arrays=("portraits",), by=style).only(self.sets)
        batches = art.batches(self.batch, "stylegan2", mirror=True)
        net, rules = StyleGAN2(self.net), Adversarial(draw=Styled(mixing=self.mixing), r1=self.r1, path=self.path)
        generator, judge = begun(net, self.start) if self.start else net, StyleGAN2Discriminator(self.judge)
        model = Adversaries(generator, judge, Augment(speed=self.speed)).to(where)
        return Training(
            model=model,
            objective=Late(rules=rules, until=self.alone) if self.start else rules,
            batches=lambda index: (levels_of(send(batches(index)[0], where)), None),
            optimisers=adams(model, {"generator": self.generator_rate, "discriminator": self.rate}, (0.0, 0.99)),
            rate=lambda step: 1.0,
            ema=EMA(model, 0.5 ** (self.batch / self.average)),
            clip=math.inf,
            # The regularisers differentiate inside the objective, where no scaler keeps fp16 from losing small
            # gradients.
            autocast=nullcontext if training_precision(where) == torch.float16 else lambda: fast(where),
        )

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        net = averaged(run, Adversaries).generator
        assert isinstance(net, StyleGAN2)
        like = net.mapping.w_avg
        z = torch.stack([torch.randn(self.net.z_dim, generator=keyed("sample", i)) for i in range(2 * COLUMNS)]).to(
            like
        )
        near, far = net.styles(z, psi=0.7), net.styles(z)
        rows = [
            mixed(near[i : i + 1].expand(COLUMNS, -1, -1), near[COLUMNS:], self.net.layers // 2)
            for i in range(COLUMNS // 2)
        ]
        pictures: list[Tensor] = [net.synthesis(ws) for ws in (near, far, *rows)]
        return grid(to_arrays(torch.cat(pictures)), COLUMNS)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        size = self.net.resolution
        cards.write(
            folder,
            run,
            core_hours,
            name="stylegan2",
            parts={"generator": averaged(run, Adversaries).generator},
            words=WORDS,
            rows=[row for row in ledger(self.data, ("portraits",), "train") if style(row) in self.sets],
            batch=self.batch,
            before=find(self.start).trained if self.start else None,
            defaults={"width": size, "height": size, "truncation": 0.7},
            metrics=self.evaluate(run),
        )
