"""A DDPM of one's own pictures, with sub-folders as classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from ..denoise import LearnedVariance
from ..learn.objectives.ddpm import Hybrid
from ..learn.training.loop import Training
from ..learn.training.optim import muon_groups
from ..nets.pixel_unet import PixelUNet, PixelUNetConfig
from ..run.device import find_device
from ..schedule import Cosine
from ..solve.dpmpp import Multistep
from .base import OwnPictures
from .classed import conditioned, drawn
from .usual import averaged, by_muon, fast

#: First and last layers, which meet the data: no hidden matrices.
EDGES = ("net.conv_in", "net.conv_out", "net.time_embedding")
DRAWN, STEPS = 16, 16


@dataclass(frozen=True, kw_only=True)
class OwnDDPM(OwnPictures):
    """Pictures out of noise.

    Args:
        edge_rate: AdamW's, of first and last layers; ``rate`` is Muon's, of all between.
        drop: the share of pictures whose class is not told.
        bound: weight of the variational bound, which teaches the variance.
    """

    FAMILY: ClassVar[str] = "ddpm"
    ABOUT: ClassVar[str] = """A denoising diffusion model (Ho et al. 2020) with a learned variance (Nichol & Dhariwal
2021): a picture out of noise, step by step."""
    ROLE: ClassVar[str] = "denoiser"

    edge_rate: float = 1e-3
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1
    bound: float = 0.001

    def begun(self) -> Training:
        levels, where = max(1, self.halvings), find_device()
        net = PixelUNet(
            PixelUNetConfig(
                out_channels=6,
                block_out_channels=tuple(self.width * min(level + 1, 3) for level in range(levels)),
                layers_per_block=1,
                attention_heads=(*(0 for _ in range(levels - 1)), 2),
                mid_attention_heads=2,
                scale_shift=True,
                norm_num_groups=8,
                classes=len(self.own.names),
            )
        )
        model = LearnedVariance(net, Cosine(), "v").to(where)
        groups = muon_groups(model, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES)
        batches = conditioned(self.own, self.batch, f"{self.seed}/own", self.drop, where, mirror=self.mirror)
        objective = Hybrid(weight=self.bound)
        return by_muon(model, objective, batches, groups, steps=self.steps, decay=0, average=self.average)

    def network(self, run: Training) -> PixelUNet:
        return averaged(run, LearnedVariance).net  # type: ignore[return-value]

    @property
    def scale(self) -> float:
        """Of guidance towards a class, where there are several."""
        return 2.0 if len(self.own.names) > 1 else 1.0

    def painted(self, run: Training) -> Tensor:
        labels, classes = self.spread_labels(DRAWN), len(self.own.names)
        with fast(find_device()):
            return drawn(averaged(run, LearnedVariance), labels, classes, self.size, Multistep(), STEPS, self.scale)

    def description(self) -> Mapping[str, Any]:
        return {
            "defaults": {"steps": STEPS, "solver": "dpmpp-2m", "spacing": "sgm-uniform", "scale": self.scale},
            "text": self.classes,
            "schedule": {"kind": "cosine"},
            "prediction": "v",
        }
