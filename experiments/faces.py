"""Train danqing-faces: the faces of drawn portraits, restored at 128 px.

    danqing learn experiments/faces.py --minutes 60
    danqing learn experiments/faces.py --export zoo/families/danqing_models/danqing-faces    a new folder

A step sees portraits that are blurred, made small, noisy and pressed (`WORN`), and a share that the autoencoder of
danqing-mini repaints, its latents moved by noise, so that the restorer knows the smeared lines of what that model
paints. Every fiftieth portrait is in no training. A row of the sheet shows twice the poor picture, ours and the truth.

The network is no use for photographs; for these `danqing.finish.faces` takes GFPGAN's published files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from danqing.finish.upscalers import OURS
from danqing.learn.data.degrade import Degradation, Stage
from danqing.learn.data.order import Order
from danqing.learn.measures.quality import psnr, ssim
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import to_arrays
from danqing.nets import restorer
from danqing.nets.restorer import Restorer, RestorerConfig
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.run.precision import autocast
from experiments import cards
from experiments.art import ledger, present
from experiments.common import DATA, averaged, by_muon, grid
from experiments.enlarger import Restoring, painter_codec, repainted

WORDS = cards.Words(
    summary="drawn portraits restored",
    about="""Restores the faces of drawn portraits, 128 px, for `danqing faces` and the finish "faces": a U-shaped
network that adds to a poor portrait what it lacks. A quarter of the portraits it learned from went through the
autoencoder of danqing-mini ("painted"), the others were blurred, made small, noisy or pressed ("worn").
PSNR is over red, green and blue, in dB.""",
    limits="Drawn portraits of a few sets. It is no use for photographs: for those name a file of GFPGAN.",
)
APART, MEASURED, SHOWN = 50, 32, 16
#: Blur, a half to a sixth of the size and back, some noise, JPEG (Wang et al. 2021, "GFPGAN", section 4.1, milder in
#: noise).
WORN = Degradation(
    first=Stage(
        widths=(0.3, 2.5),
        sinc=0.0,
        up=0.0,
        down=0.9,
        ratios=(0.17, 1.0),
        noise=0.4,
        sigmas=(1, 15),
        jpeg=0.6,
        qualities=(30, 95),
    ),
    second=Stage(
        blur=0.2, widths=(0.2, 1.0), sinc=0.0, up=0.0, down=0.0, noise=0.2, sigmas=(1, 5), scales=(0.05, 0.5), jpeg=0.3
    ),
    sinc=0.2,
    scale=1,
)


@dataclass(frozen=True, kw_only=True)
class DrawnFaces(Experiment):
    """Poor portraits to good ones.

    Args:
        batch: portraits a step.
        rate: Muon's; that of the first and the last layer, by Adam, is a tenth. It falls to zero over the last third.
        edge: weight of edges, see `Restoring`.
        painted: the share of portraits that danqing-mini's autoencoder repaints.
        average: decay of the averaged network.
        net: the network.
    """

    steps: Count = 6000
    data: Free[Path] = DATA
    batch: Count = 16
    rate: float = 0.01
    edge: float = 1.0
    painted: float = 0.25
    average: float = 0.998
    net: RestorerConfig = field(default_factory=lambda: restorer.MINI)

    @cached_property
    def portraits(self) -> np.ndarray:
        """(N, 128, 128, 3) of bytes."""
        return np.load(present(self.data / "portraits.npy"), mmap_mode="r")

    def truths(self, indices: list[int]) -> Tensor:
        """Portraits (B, 3, 128, 128) in [0, 1]."""
        return torch.from_numpy(np.stack([self.portraits[i] for i in indices])).permute(0, 3, 1, 2) / 255

    def poor(self, truth: Tensor, painted: int, key: str) -> Tensor:
        """What is made of (B, 3, 128, 128): the first ``painted`` are repainted, the others worn. On the device."""
        where = find_device()
        worn = [WORN(x, keyed("faces", key, i)) for i, x in enumerate(truth[painted:])]
        parts = [send(torch.stack(worn), where)] if worn else []
        if painted:
            with autocast(where):
                parts.insert(
                    0, repainted(painter_codec(), send(truth[:painted].contiguous(), where), keyed("repainted", key))
                )
        return torch.cat(parts)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        kept = [i for i in range(len(self.portraits)) if i % APART]
        order, model = Order(len(kept), self.batch, "faces"), Restorer(self.net).to(where)

        def batch(index: int) -> tuple[Tensor, Tensor]:
            truth = self.truths([kept[i] for i in order(index).tolist()])
            turned = torch.rand(len(truth), generator=keyed("faces", "mirror", index)) < 0.5
            truth = torch.where(turned[:, None, None, None], truth.flip(-1), truth)
            poor = self.poor(truth, round(self.batch * self.painted), str(index))
            return 2 * poor - 1, 2 * send(truth, where) - 1

        groups = muon_groups(model, lr=self.rate, adam_lr=self.rate / 10, edges=["conv_in.", "conv_out."])
        return by_muon(
            model,
            Restoring(edge=self.edge),
            batch,
            groups,
            steps=self.steps,
            decay=self.steps // 3,
            average=self.average,
        )

    @torch.no_grad()
    def restored(self, run: Training, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Portraits apart: poor, half of them repainted and half worn, ours, and the truth, each (count, 3, 128, 128)
        in [0, 1]."""
        truth = self.truths(list(range(0, len(self.portraits), APART))[:count])
        poor = self.poor(truth, count // 2, "apart")
        with autocast(find_device()):
            ours = torch.cat([averaged(run, Restorer)(2 * part - 1).float() for part in poor.split(8)])
        return poor.float().cpu(), ((ours + 1) / 2).clamp(0, 1).cpu(), truth

    def evaluate(self, run: Training) -> Mapping[str, float]:
        """PSNR over red, green and blue, in dB, and structural similarity: of ours, and of the poor pictures as they
        are."""
        poor, ours, truth = self.restored(run, MEASURED)
        half, found = MEASURED // 2, {}
        for kind, part in (("painted", slice(0, half)), ("worn", slice(half, None))):
            for name, answer in (("ours", ours), ("as it is", poor)):
                pairs = list(zip(answer[part], truth[part], strict=True))
                found[f"psnr {kind} {name}"] = sum(psnr(x, y) for x, y in pairs) / len(pairs)
                found[f"ssim {kind} {name}"] = float(ssim(2 * answer[part] - 1, 2 * truth[part] - 1).mean())
        return found

    def samples(self, run: Training) -> Image.Image:
        return grid(to_arrays(2 * torch.stack(self.restored(run, SHOWN), 1).flatten(0, 1) - 1), 6)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged network, under the name by which `danqing.finish.upscalers` finds it, and a card."""
        cards.write_network(
            folder,
            run,
            core_hours,
            name="danqing-faces",
            file=OURS["danqing-faces"],
            net=averaged(run, Restorer),
            words=WORDS,
            rows=[row for row in ledger(self.data, ("portraits",)) if row["index"] % APART],
            batch=self.batch,
            metrics=self.evaluate(run),
        )
