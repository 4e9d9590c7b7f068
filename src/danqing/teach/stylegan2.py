"""A StyleGAN2 of one's own pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ..learn.data.augment import Augment
from ..learn.objectives.adversarial import Adversarial, Adversaries, Styled
from ..learn.training.experiment import Count, Free
from ..learn.training.loop import EMA, Training
from ..nets.stylegan2 import StyleGAN2, StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig
from ..nets.vae import prior
from ..noise import keyed
from ..run.device import find_device
from ..run.precision import training_precision
from .base import Above, Decay, OwnPictures
from .usual import adams, averaged, fast

DRAWN, PSI = 24, 0.7


@dataclass(frozen=True, kw_only=True)
class OwnStyleGAN2(OwnPictures):
    """Pictures of things alike, at once.

    Args:
        rate: Adam's, of the generator and of the discriminator.
        r1: gamma; 0.0002 px² / batch is the heuristic of Karras et al. 2020b.
        path: weight of the path length regulariser.
        mixing: how often a batch has the styles of two latents.
        speed: how many pictures move the probability of augmentations by 1.
    """

    FAMILY: ClassVar[str] = "stylegan2"
    ABOUT: ClassVar[
        str
    ] = """StyleGAN2 (Karras et al. 2020): a picture in one pass of the network, from a vector of noise.
The coarse styles of one picture go with the fine ones of another. Truncation trades variety for likeness."""

    steps: Free[Count] = 6000
    sample_every: Free[Count] = 500
    batch: Count = 8
    rate: Above = 0.002
    average: Decay = 0.998
    r1: Annotated[float, Field(ge=0)] = 0.5
    path: Annotated[float, Field(ge=0)] = 2.0
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.9
    speed: Above = 50_000

    def begun(self) -> Training:
        where = find_device()
        pyramid: dict[str, Any] = dict(
            resolution=self.size,
            mapping_layers=4,
            channel_base=self.width * self.size,
            channel_max=4 * self.width,
        )
        generator = StyleGAN2(StyleGAN2Config(z_dim=4 * self.width, w_dim=4 * self.width, **pyramid))
        judge = StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**pyramid))
        model = Adversaries(generator, judge, Augment(speed=self.speed)).to(where)
        return Training(
            model=model,
            objective=Adversarial(draw=Styled(mixing=self.mixing), r1=self.r1, path=self.path),
            batches=lambda index: (self.pictures(index)[0], None),
            optimisers=adams(model, {"generator": self.rate, "discriminator": self.rate}, (0.0, 0.99)),
            rate=lambda step: 1.0,
            ema=EMA(model, self.average),
            clip=math.inf,
            # The regularisers differentiate inside the objective, where no scaler keeps fp16 from losing small
            # gradients.
            autocast=nullcontext if training_precision(where) == torch.float16 else lambda: fast(where),
        )

    def network(self, run: Training) -> StyleGAN2:
        return averaged(run, Adversaries).generator  # type: ignore[return-value]

    def painted(self, run: Training) -> Tensor:
        net = self.network(run)
        z = prior([keyed("sample", i) for i in range(DRAWN)], net.config.z_dim)
        return net.synthesis(net.styles(z.to(net.mapping.w_avg), psi=PSI))

    def description(self) -> Mapping[str, Any]:
        return {"defaults": {"truncation": PSI}}
