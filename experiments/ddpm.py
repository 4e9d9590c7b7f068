"""Train a DDPM with a learned variance on the art, 32 px, with its kinds as classes.

    danqing learn experiments/ddpm.py --minutes 30

The rate cools down over the last ``decay`` steps before ``steps``. Both may change when a run resumes, so a run that
time has stopped is brought to its end by the same command with ``--set steps=`` a little above where it is.

The rows of a sheet of samples are `ROWS`; a column is a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from PIL import Image
from pydantic import Field

from danqing.denoise import LearnedVariance
from danqing.learn.objectives.ddpm import Hybrid, bound_bits
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import to_arrays
from danqing.nets import pixel_unet
from danqing.nets.pixel_unet import PixelUNet, PixelUNetConfig
from danqing.noise import keyed
from danqing.run.device import find_device
from danqing.schedule import Cosine, Linear
from danqing.solve.ancestral import DDIM
from danqing.solve.dpmpp import Multistep
from danqing.solve.learned import LearnedDDPM
from experiments import cards
from experiments.art import Art, ledger
from experiments.common import DATA, averaged, by_muon, fast, grid
from experiments.kinds import SIZE, apart, conditioned, row

SCHEDULES = {"cosine": Cosine(), "linear": Linear()}
#: Solver, steps and guidance scale of each row of samples.
ROWS = (
    (LearnedDDPM(), 50, 1.0),
    (LearnedDDPM(), 50, 3.0),
    (DDIM(), 25, 3.0),
    (Multistep(), 16, 1.0),
    (Multistep(), 16, 3.0),
)
#: First and last layers, which meet the data: no hidden matrices.
EDGES = ("net.conv_in", "net.conv_out", "net.time_embedding")
HELD, STRATA = 16, 40
WORDS = cards.Words(
    summary="32 px art of 36 kinds, by a DDPM with a learned variance",
    about="""A denoising diffusion model (Ho et al. 2020) with a learned variance (Nichol & Dhariwal 2021) of 32 px art:
a picture out of noise, step by step, guided towards one of 36 kinds.""",
    limits="It was trained briefly and on few pictures. It knows kinds of things and no single ones.",
)


@dataclass(frozen=True, kw_only=True)
class Kinds(Experiment):
    """Art of a kind, out of noise.

    Args:
        batch: pictures a step.
        rate: Muon's, of the hidden matrices.
        edge_rate: AdamW's, of all else.
        decay: over how many last steps the rates fall to 0.
        drop: the share of pictures whose class is not told.
        bound: weight of the variational bound, which teaches the variance.
        noise: which schedule of 1000 levels.
        prediction: what the network says. "eps" as published says nothing of the picture where it is all noise, and
            there each error grows by 1 / alpha; "v" says as much at every level, so that few steps are enough.
        average: decay of the averaged weights.
        net: the network; its number of classes is that of the art.
    """

    steps: Free[Count] = 3600
    sample_every: Free[Count] = 600
    evaluate_every: Free[Count] = 300
    data: Free[Path] = DATA
    batch: Count = 32
    rate: float = 0.01
    edge_rate: float = 1e-3
    decay: Free[Count] = 900
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1
    bound: float = 0.001
    noise: Literal["cosine", "linear"] = "cosine"
    prediction: Literal["v", "eps"] = "v"
    average: float = 0.998
    net: PixelUNetConfig = field(default_factory=lambda: pixel_unet.MINI)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        art = Art.load(self.data, SIZE)
        net = PixelUNet(replace(self.net, classes=len(art.names)))
        model = LearnedVariance(net, SCHEDULES[self.noise], self.prediction).to(where)
        groups = muon_groups(model, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES)
        batches = conditioned(art, self.batch, "ddpm", self.drop, where)
        return by_muon(
            model, Hybrid(weight=self.bound), batches, groups, steps=self.steps, decay=self.decay, average=self.average
        )

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        model, where = averaged(run, LearnedVariance), find_device()
        with fast(where):
            rows = [row(model, model.net.config.classes, *each) for each in ROWS]  # type: ignore[union-attr]
        return grid(to_arrays(torch.cat(rows)), len(rows[0]))

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """On pictures that were never seen: the loss, and the bound in bits a number."""
        model, where = averaged(run, LearnedVariance), find_device()
        x, cond = apart(self.data, 8 * HELD, where)
        few = cond.map(lambda v: v[::8])
        with fast(where):
            simple = float(Hybrid()(model, (x, cond), keyed("held out"))["simple"])
            bits = float(bound_bits(model, x[::8], few, keyed("bound"), STRATA).mean())
        return {"held out": simple, "held out bits": bits}

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        cards.write(
            folder,
            run,
            core_hours,
            name="ddpm",
            parts={"denoiser": averaged(run, LearnedVariance).net},
            words=WORDS,
            rows=ledger(self.data, ("singles",), "train"),
            batch=self.batch,
            defaults={
                "width": SIZE,
                "height": SIZE,
                "steps": 16,
                "solver": "dpmpp-2m",
                "spacing": "sgm-uniform",
                "scale": 3.0,
            },
            metrics=self.evaluate(run),
            text=cards.classes(Art.load(self.data, SIZE).names),
            schedule={"kind": self.noise},
            prediction=self.prediction,
        )
