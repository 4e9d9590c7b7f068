"""The experiment that the tests run, kill and resume: a network with dropout learns to denoise eight numbers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from danqing.learn.data.order import Order
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.noise import keyed


@dataclass(frozen=True, kw_only=True)
class Net:
    """The network's settings."""

    width: int = 8
    dropout: float = 0.5


class Knife:
    """Kills the process as SIGKILL does, at the so-manieth time that it comes to a place: "saving 3"."""

    def __init__(self, at: str):
        place, _, times = at.partition(" ")
        self.place, self.times, self.seen = place, int(times or 0), Counter()

    def __call__(self, place: str) -> None:
        self.seen[place] += 1
        if place == self.place and self.seen[place] == self.times:
            os.kill(os.getpid(), signal.SIGKILL)


class HalfDone(Muon):
    """Comes to the place "optimiser" when a part of the parameters has moved."""

    knife: Knife

    def _adam(self, *args) -> None:
        self.knife("optimiser")
        super()._adam(*args)


@dataclass(frozen=True, kw_only=True)
class Tiny(Experiment):
    """Denoise eight numbers."""

    steps: Free[Count] = 8
    save_every: Free[float] = 0.0
    log_every: Free[Count] = 1
    batch: Count = 4
    accumulate: Free[Count] = 1  # together with the number of processes it is kept in the checkpoint anyhow
    rate: float = 0.02
    seed: int = 0
    net: Net = field(default_factory=Net)
    kill: Free[str] = ""
    where: Path | None = None

    def training(self) -> Training:
        torch.manual_seed(self.seed)
        width = self.net.width
        model = nn.Sequential(nn.Linear(8, width), nn.SiLU(), nn.Dropout(self.net.dropout), nn.Linear(width, 8))
        data, order, knife = (
            torch.randn(20, 8, generator=keyed("data")),
            Order(20, self.batch, "order"),
            Knife(self.kill),
        )
        optimiser = HalfDone(muon_groups(model, lr=self.rate, adam_lr=1e-2))
        optimiser.knife = knife
        sharpen(knife)

        def objective(model, batch, noise):
            knife("objective")
            x, odd = batch
            hidden = model[:3](x + torch.randn(x.shape, generator=noise))
            out = F.linear(hidden, model[3].weight, model[3].bias if odd else None)  # half of the batches reach no bias
            return {"loss": (out - x).square().mean()}

        return Training(model=model, objective=objective, batches=lambda index: (data[order(index)], index % 2),
                        optimisers={"loss": optimiser}, rate=Trapezoid(3), ema=EMA(model, 0.9), seed=self.seed,
                        accumulate=self.accumulate)  # fmt: skip

    def samples(self, run: Training) -> Image.Image:
        return Image.new("RGB", (4, 2), "red")

    def evaluate(self, run: Training) -> Mapping[str, float]:
        return {"weight": float(next(run.model.parameters()).detach().norm())}


def sharpen(knife: Knife) -> None:
    """Let the knife come to the places "saving", with half of a checkpoint written, and "renaming", with all of it."""
    if not knife.place:
        return
    fsync, replace, write = os.fsync, os.replace, torch.save

    def half(state, file) -> None:
        write(state, file)
        file.flush()
        os.truncate(file.fileno(), file.tell() // 2)
        knife("saving")
        write(state, file.truncate(0) or file.seek(0) or file)

    def renamed(source, target) -> None:
        knife("renaming" if str(target).endswith(".pt") else "other")
        replace(source, target)

    torch.save, os.fsync, os.replace = half, fsync, renamed
