"""A PixelCNN of one's own pictures, with sub-folders as classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ..learn.data.palette import palette
from ..learn.objectives.autoregressive import Autoregressive
from ..learn.training.experiment import Count, Free
from ..learn.training.loop import Training
from ..learn.training.optim import muon_groups
from ..levels import levels_of
from ..nets.pixel_heads import Palette
from ..nets.pixelcnn import PixelCNN, PixelCNNConfig, sample
from ..noise import keyed
from ..run.device import find_device, send
from .base import OwnPictures
from .own import Own
from .usual import averaged, by_muon

DRAWN, FITTED = 16, 100_000


@dataclass(frozen=True, kw_only=True)
class OwnPixelCNN(OwnPictures):
    """Pictures pixel by pixel.

    Args:
        edge_rate: AdamW's, of the last layer; ``rate`` is Muon's, of all before.
        colours: how many a pixel may have, at most; they are fitted to the pictures.
        depth: layers of the network, in threes.
    """

    FAMILY: ClassVar[str] = "pixelcnn"
    ABOUT: ClassVar[str] = """A gated PixelCNN (van den Oord et al. 2016): a picture pixel by pixel, row by row, each
drawn from its distribution given all before it. A pixel is one of a few colours, fitted to the pictures."""

    sample_every: Free[Count] = 500
    batch: Count = 8
    # oneDNN's gradients of dilated convolutions in bfloat16 are NaN at other widths (torch 2.13)
    width: Annotated[int, Field(ge=16, multiple_of=16)] = 48
    edge_rate: float = 1e-3
    colours: Annotated[int, Field(ge=2, le=256)] = 64
    depth: Count = 2

    def begun(self) -> Training:
        fitted = colours(self.own, self.colours)
        model = PixelCNN(
            PixelCNNConfig(
                levels=len(fitted),
                hidden=2 * self.width,
                classes=len(self.own.names),
                width=self.width,
                dilations=(1, 2, 4) * self.depth,
            )
        )
        assert isinstance(model.head, Palette)
        model.head.palette.copy_(fitted)
        symbols = model.head.quantise(self.own.pictures).movedim(-1, 1).to(torch.uint8)  # (N, 1, S, S)
        own, where = replace(self.own, pictures=symbols), find_device()
        batches = own.batches(self.batch, f"{self.seed}/own", mirror=self.mirror)

        def batch(index: int) -> tuple[Tensor, Tensor]:
            x, labels = batches(index)
            return send(x, where).movedim(1, -1).long(), send(labels, where)

        groups = muon_groups(model.to(where), lr=self.rate, adam_lr=self.edge_rate, edges=["head.out"])
        return by_muon(model, Autoregressive(), batch, groups, steps=self.steps, decay=0, average=self.average)

    def network(self, run: Training) -> PixelCNN:
        return averaged(run, PixelCNN)

    def painted(self, run: Training) -> Tensor:
        net, noises = self.network(run), [keyed("sample", i) for i in range(DRAWN)]
        asked = self.spread_labels(DRAWN).to(find_device())
        drawn = torch.stack(list(sample(net, noises, self.size, self.size, asked)), 1)
        return levels_of(net.head.picture(drawn))

    def description(self) -> Mapping[str, Any]:
        return {"defaults": {"truncation": 1.0}, "text": self.classes}


def colours(own: Own, count: int) -> Tensor:
    """The pictures' palette, (K, 3) whole numbers from 0 to 255: ``count`` colours, or all where there are fewer."""
    pixels = own.pictures.movedim(1, -1).flatten(0, 2)  # (N·S·S, 3)
    some = pixels[torch.randperm(len(pixels), generator=keyed("palette", "pixels"))[:FITTED]].float()
    return palette(some, min(count, len(some.unique(dim=0))), keyed("palette", "start")).round()
