"""Train the PixelCNN: 32 px art in 256 colours, pixel by pixel, by class.

    danqing learn experiments/pixelcnn.py

Why a palette: one softmax then holds the whole colour, so a drawn pixel is always a colour of the art, where three
channels drawn one after the other go wrong in each; and a pixel takes one draw instead of three. 256 colours miss the
art's by 7.3 of 255 (root mean square over all that is not white), most of it along edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from danqing.learn.data.palette import palette
from danqing.learn.objectives.autoregressive import Autoregressive
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.nets import pixelcnn
from danqing.nets.pixel_heads import Palette
from danqing.nets.pixelcnn import PixelCNN, PixelCNNConfig
from danqing.noise import keyed
from danqing.run.device import find_device, send
from experiments import cards
from experiments.art import Art, ledger
from experiments.common import DATA, averaged, by_muon, grid

SIZE, SHOWN, APART = 32, 24, 256
WORDS = cards.Words(
    summary="32 px art of 36 kinds in 256 colours, drawn pixel by pixel by a PixelCNN",
    about="""A gated PixelCNN (van den Oord et al. 2016) of 32 px art: a picture pixel by pixel, row by row, each drawn
from its distribution given all before it. A pixel is one of 256 colours, which were fitted to the art. It is asked for
one of 36 kinds.""",
    limits="""It paints the upper rows before it knows the lower ones, so shapes may not close; and
a picture takes one pass of the network a pixel. It knows kinds of things and no single ones.""",
)


@dataclass(frozen=True, kw_only=True)
class Pixels(Experiment):
    """Art of a kind, pixel by pixel.

    Args:
        steps: where it ends; the rates fall to zero over the last quarter.
        batch: pictures a step.
        rate: Muon's, of the hidden matrices.
        edge_rate: AdamW's, of all else.
        average: decay of the averaged weights.
        net: the network, whose head is a palette; its number of classes is that of the art.
    """

    steps: Count = 1800
    data: Free[Path] = DATA
    batch: Count = 32
    rate: float = 0.01
    edge_rate: float = 1e-3
    average: float = 0.998
    net: PixelCNNConfig = field(default_factory=lambda: pixelcnn.ART)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        art = Art.load(self.data, SIZE)
        model = PixelCNN(replace(self.net, classes=len(art.names)))
        assert isinstance(model.head, Palette)
        model.head.palette.copy_(colours(art, self.net.levels))
        symbols = model.head.quantise(art.pictures).movedim(-1, 1).to(torch.uint8)  # (N, 1, S, S)
        batches = replace(art, pictures=symbols).batches(self.batch, "pixelcnn", mirror=True)
        model = model.to(where)

        def batch(index: int) -> tuple[Tensor, Tensor]:
            x, labels = batches(index)
            return send(x, where).movedim(1, -1).long(), send(labels, where)

        groups = muon_groups(model, lr=self.rate, adam_lr=self.edge_rate, edges=["head.out"])
        return by_muon(
            model, Autoregressive(), batch, groups, steps=self.steps, decay=self.steps // 4, average=self.average
        )

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        model = averaged(run, PixelCNN)
        asked = torch.arange(SHOWN, device=find_device()) * model.config.classes // SHOWN
        noises = [keyed("sample", i) for i in range(SHOWN)]
        drawn = torch.stack(list(pixelcnn.sample(model, noises, SIZE, SIZE, asked)), 1)
        return grid(model.head.picture(drawn).movedim(1, -1).cpu().numpy(), 8)

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """Bits a colour number of pictures that were never seen."""
        model, where = averaged(run, PixelCNN), find_device()
        assert isinstance(model.head, Palette)
        art = Art.load(self.data, SIZE, split="heldout_pair")
        some = torch.arange(APART) * len(art.pictures) // APART
        symbols, labels = model.head.quantise(art.pictures[some].to(where)), art.labels[some].to(where)
        pairs = zip(symbols.split(32), labels.split(32), strict=True)
        bits = [Autoregressive()(model, pair, keyed())["loss"] for pair in pairs]
        return {"held out bits": float(torch.stack(bits).mean())}

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        cards.write(
            folder,
            run,
            core_hours,
            name="pixelcnn",
            parts={"generator": averaged(run, PixelCNN)},
            words=WORDS,
            rows=ledger(self.data, ("singles",), "train"),
            batch=self.batch,
            defaults={"width": SIZE, "height": SIZE, "truncation": 1.0},
            metrics=self.evaluate(run),
            text=cards.classes(Art.load(self.data, SIZE).names),
        )


def colours(art: Art, count: int) -> Tensor:
    """The palette of the art, (K, 3) whole numbers from 0 to 255: white first, the rest fitted to all that is not
    white."""
    pixels = art.pictures.movedim(1, -1).flatten(0, 2)  # (N·S·S, 3)
    drawn = pixels[(pixels < 255).any(1)]
    some = drawn[torch.randint(len(drawn), (100_000,), generator=keyed("palette", "pixels"))].float()
    return palette(some, count, keyed("palette", "start"), fixed=torch.full((1, 3), 255.0)).round()
