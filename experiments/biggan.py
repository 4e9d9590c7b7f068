"""Train BigGAN on the art, 32 px, with its kinds as classes.

    danqing learn experiments/biggan.py --minutes 60

A sheet of samples has a column for each of twelve classes; its rows are latents truncated at 2, 1 and 0.5, and the last
rows go from each class to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image

from danqing.learn.data.augment import Augment
from danqing.learn.objectives.adversarial import HINGE, Adversarial, Adversaries
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import EMA, Training
from danqing.levels import levels_of, to_arrays
from danqing.nets import biggan
from danqing.nets.biggan import BigGAN, BigGANConfig, BigGANDiscriminator, BigGANDiscriminatorConfig, truncated_normal
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.run.precision import scaler
from experiments import cards
from experiments.art import Art, ledger
from experiments.common import DATA, adams, averaged, fast, grid

SHOWN, THRESHOLDS = 12, (2.0, 2.0, 1.0, 1.0, 0.5, 0.5)
WORDS = cards.Words(
    summary="32 px art of 36 kinds, by BigGAN",
    about="""BigGAN (Brock et al. 2019) of 32 px art: a picture in one pass of the network, from a vector of noise and
one of 36 kinds. Truncation trades variety for likeness: 2 is all of it, 0.5 the most typical.""",
    limits="It was trained briefly and on few pictures: it paints shapes and colours of a kind rather than things.",
)


@dataclass(frozen=True, kw_only=True)
class Kinds(Experiment):
    """Art of a kind.

    Args:
        batch: pictures a step; the more, the better (Brock et al. 2019, section 3.1).
        rate, judging_rate: Adam's, of the generator and of the discriminator, which learns faster (Heusel et al. 2017).
        orthogonal: weight of the generator's orthogonal regulariser.
        speed: how many pictures move the probability of augmentations by 1.
        average: decay of the averaged generator.
        net, judge: the networks; their number of classes is that of the art.
    """

    steps: Free[Count] = 20000
    data: Free[Path] = DATA
    batch: Count = 64
    rate: float = 2e-4
    judging_rate: float = 4e-4
    orthogonal: float = 1e-4
    speed: float = 100_000
    average: float = 0.999
    net: BigGANConfig = field(default_factory=lambda: biggan.MINI)
    judge: BigGANDiscriminatorConfig = field(default_factory=lambda: biggan.MINI_DISCRIMINATOR)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        art = Art.load(self.data, self.net.resolution)
        batches, classes = art.batches(self.batch, "biggan", mirror=True), len(art.names)
        generator = BigGAN(replace(self.net, classes=classes))
        model = Adversaries(
            generator, BigGANDiscriminator(replace(self.judge, classes=classes)), Augment(speed=self.speed)
        ).to(where)

        def batch(index: int) -> tuple[torch.Tensor, torch.Tensor]:
            pictures, labels = batches(index)
            return levels_of(send(pictures, where)), send(labels, where)

        return Training(
            model=model,
            objective=Adversarial(loss=HINGE, orthogonal=self.orthogonal),
            batches=batch,
            optimisers=adams(model, {"generator": self.rate, "discriminator": self.judging_rate}, (0.0, 0.99)),
            rate=lambda step: 1.0,
            ema=EMA(model, self.average),
            clip=math.inf,
            autocast=lambda: fast(where),
            scaler=scaler(where),
        )

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        net = averaged(run, Adversaries).generator
        assert isinstance(net, BigGAN)
        like, size = net.shared.weight, (SHOWN, net.config.z_dim)
        labels = torch.arange(SHOWN, device=like.device) * net.config.classes // SHOWN
        rows = [net(truncated_normal(size, t, keyed("sample", i)).to(like), labels) for i, t in enumerate(THRESHOLDS)]
        z, ends = truncated_normal((1, size[1]), 1.0, keyed("between")).to(like).expand(size), net.shared(labels)
        rows += [net.painted(z, torch.lerp(ends, ends.roll(-1, 0), k / 4)) for k in range(4)]
        return grid(to_arrays(torch.cat(rows)), SHOWN)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        size = self.net.resolution
        cards.write(
            folder,
            run,
            core_hours,
            name="biggan",
            parts={"generator": averaged(run, Adversaries).generator},
            words=WORDS,
            rows=ledger(self.data, ("singles",), "train"),
            batch=self.batch,
            defaults={"width": size, "height": size, "truncation": 1.0},
            metrics=self.evaluate(run),
            text=cards.classes(Art.load(self.data, size).names),
        )
