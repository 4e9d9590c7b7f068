"""Train a score network on the art, 32 px, with its kinds as classes, in continuous time.

    danqing learn experiments/score.py --minutes 30
    danqing learn experiments/score.py --minutes 30 --set sde=ve --out runs/score-ve

Steps, decay and the end of a run are as in `experiments.ddpm`. The rows of a sheet of samples are `ROWS`: the
reverse-time SDE alone, with a corrector, and the probability flow; a column is a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from danqing.denoise import SCORE_OF_SIGMA, Denoiser
from danqing.learn.measures.likelihood import bits_per_dim, dequantise, log_likelihood
from danqing.learn.objectives.draws import uniform
from danqing.learn.objectives.scores import ScoreMatching, rademacher
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import to_arrays
from danqing.nets import pixel_unet
from danqing.nets.pixel_unet import PixelUNetConfig, ScoreUNet
from danqing.noise import keyed
from danqing.run.device import find_device
from danqing.schedule import VE, VP, Schedule
from danqing.solve.ancestral import DDIM, DDPM
from danqing.solve.corrector import PredictorCorrector
from danqing.solve.dpmpp import Multistep
from experiments import cards
from experiments.art import Art, ledger
from experiments.common import DATA, averaged, by_muon, fast, grid
from experiments.ddpm import EDGES
from experiments.kinds import SIZE, apart, conditioned, row

SCHEDULES: Mapping[str, Schedule] = {"vp": VP(), "ve": VE()}
#: Solver, steps and guidance scale of each row of samples.
ROWS = (
    (DDPM(), 60, 1.0),
    (PredictorCorrector(), 30, 1.0),
    (DDIM(), 30, 1.0),
    (Multistep(), 20, 1.0),
    (Multistep(), 20, 3.0),
)
HELD, STEPS = 8, 16
WORDS = cards.Words(
    summary="32 px art of 36 kinds, by a score network in continuous time",
    about="""A score network (Song et al. 2021) of 32 px art: it knows the gradient of the density of noisy pictures, up
which noise becomes a picture, guided towards one of 36 kinds.""",
    limits="It was trained briefly and on few pictures. It knows kinds of things and no single ones.",
)


@dataclass(frozen=True, kw_only=True)
class Scores(Experiment):
    """Art of a kind, up the gradient of its density.

    Args:
        batch: pictures a step.
        rate: Muon's, of the hidden matrices.
        edge_rate: AdamW's, of all else.
        decay: over how many last steps the rates fall to 0.
        drop: the share of pictures whose class is not told.
        sde: "vp" keeps the variance, "ve" lets it grow (Song et al. 2021, section 3.4).
        weighting: of the times; "simple" weighs all alike, "likelihood" as the bound of the likelihood does (Song et
            al. 2021b).
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
    sde: Literal["vp", "ve"] = "vp"
    weighting: Literal["simple", "likelihood"] = "simple"
    average: float = 0.998
    net: PixelUNetConfig = field(default_factory=lambda: replace(pixel_unet.MINI, out_channels=3))

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        art = Art.load(self.data, SIZE)
        net = ScoreUNet(replace(self.net, classes=len(art.names)))
        model = Denoiser(net, SCHEDULES[self.sde], SCORE_OF_SIGMA).to(where)
        groups = muon_groups(model, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES)
        batches = conditioned(art, self.batch, "score", self.drop, where)
        return by_muon(model, self.objective, batches, groups, steps=self.steps, decay=self.decay, average=self.average)

    @property
    def objective(self) -> ScoreMatching:
        times = evenly if self.weighting == "simple" else likely
        return ScoreMatching(times=partial(times, SCHEDULES[self.sde]))

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        model, where = averaged(run, Denoiser), find_device()
        with fast(where):
            rows = [row(model, model.net.config.classes, *each) for each in ROWS]  # type: ignore[union-attr]
        return grid(to_arrays(torch.cat(rows)), len(rows[0]))

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """On pictures that were never seen: the loss, and the bits a number by the probability flow, of a few."""
        model, where = averaged(run, Denoiser), find_device()
        x, cond = apart(self.data, 16 * HELD, where)
        few = cond.map(lambda v: v[::16])
        with fast(where):
            loss = float(self.objective(model, (x, cond), keyed("held out"))["loss"])
            some = dequantise(x[::16], keyed("bin"))
            probes = rademacher(1, keyed("probes"), some)
            found = log_likelihood(lambda x, t: model(x, t, few), model.schedule, some, steps=STEPS, probes=probes)
        return {"held out": loss, "held out bits": float(bits_per_dim(found.log_p, some[0].numel()).mean())}

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        cards.write(
            folder,
            run,
            core_hours,
            name="score",
            parts={"denoiser": averaged(run, Denoiser).net},
            words=WORDS,
            rows=ledger(self.data, ("singles",), "train"),
            batch=self.batch,
            defaults={
                "width": SIZE,
                "height": SIZE,
                "steps": 40,
                "solver": "pc",
                "spacing": "sgm-uniform",
                "scale": 3.0,
            },
            metrics=self.evaluate(run),
            text=cards.classes(Art.load(self.data, SIZE).names),
            schedule={"kind": self.sde},
            prediction="score",
        )


def evenly(schedule: Schedule, count: int, noise: torch.Generator) -> Tensor:
    """Times from t_min to 1, all equally likely; (count,)."""
    return schedule.t_min + (1 - schedule.t_min) * uniform(count, noise)


def likely(schedule: Schedule, count: int, noise: torch.Generator) -> Tensor:
    """Times with a density in proportion to -d log SNR / dt = g^2 / sigma^2; (count,).

    With the weight sigma^2 of `ScoreMatching` they draw the loss of weight g^2, the likelihood's, without its variance
    (Song et al. 2021b, section 4.4; Kingma et al. 2021): log SNR is uniform between its ends.
    """
    alpha, sigma = schedule(torch.tensor([1.0, schedule.t_min], dtype=torch.float64))
    low, high = (2 * (alpha / sigma).log()).tolist()
    return schedule.time(low + (high - low) * uniform(count, noise).double()).float()
