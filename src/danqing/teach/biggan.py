"""A BigGAN of one's own pictures, with sub-folders as classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..learn.data.augment import Augment
from ..learn.objectives.adversarial import HINGE, Adversarial, Adversaries
from ..learn.training.experiment import Count, Free
from ..learn.training.loop import EMA, Training
from ..nets.biggan import BigGAN, BigGANConfig, BigGANDiscriminator, BigGANDiscriminatorConfig, truncated_normal
from ..noise import keyed
from ..run.device import find_device
from ..run.precision import scaler
from .base import Above, Decay, OwnPictures
from .usual import adams, averaged, fast

DRAWN, CHUNK = 24, 16


@dataclass(frozen=True, kw_only=True)
class OwnBigGAN(OwnPictures):
    """Pictures of a class, at once.

    Args:
        rate, judging_rate: Adam's, of the generator and of the discriminator, which learns faster (Heusel et al. 2017).
        orthogonal: weight of the generator's orthogonal regulariser.
        speed: how many pictures move the probability of augmentations by 1.
    """

    FAMILY: ClassVar[str] = "biggan"
    ABOUT: ClassVar[
        str
    ] = """BigGAN (Brock et al. 2019): a picture in one pass of the network, from a vector of noise and
a class. Truncation trades variety for likeness: 2 is all of it, 0.5 the most typical."""

    steps: Free[Count] = 6000
    sample_every: Free[Count] = 500
    batch: Count = 16
    rate: Above = 2e-4
    judging_rate: Above = 4e-4
    average: Decay = 0.998
    orthogonal: float = 1e-4
    speed: Above = 50_000

    def begun(self) -> Training:
        where, classes, blocks = find_device(), len(self.own.names), self.halvings
        widths = tuple(self.width * min(level + 1, 3) for level in range(blocks + 1))
        made = BigGANConfig(
            widths=widths[::-1],
            attention=(1,) if blocks > 1 else (),  # at 16×16
            z_dim=CHUNK * (blocks + 1),
            shared_dim=32,
            classes=classes,
        )
        judged = BigGANDiscriminatorConfig(widths=widths, halvings=blocks, attention=(0,), classes=classes)
        model = Adversaries(BigGAN(made), BigGANDiscriminator(judged), Augment(speed=self.speed)).to(where)
        return Training(
            model=model,
            objective=Adversarial(loss=HINGE, orthogonal=self.orthogonal),
            batches=self.pictures,
            optimisers=adams(model, {"generator": self.rate, "discriminator": self.judging_rate}, (0.0, 0.99)),
            rate=lambda step: 1.0,
            ema=EMA(model, self.average),
            clip=math.inf,
            autocast=lambda: fast(where),
            scaler=scaler(where),
        )

    def network(self, run: Training) -> BigGAN:
        return averaged(run, Adversaries).generator  # type: ignore[return-value]

    def painted(self, run: Training) -> Tensor:
        net = self.network(run)
        z = torch.cat([truncated_normal((1, net.config.z_dim), 1.0, keyed("sample", i)) for i in range(DRAWN)])
        return net(z.to(net.shared.weight), self.spread_labels(DRAWN).to(net.shared.weight.device))

    def description(self) -> Mapping[str, Any]:
        return {"defaults": {"truncation": 1.0}, "text": self.classes}
