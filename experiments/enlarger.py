"""Train danqing-x4: art four times as high and as wide.

    python -m experiments.data.large                   the sharp targets, 512 px; once
    danqing learn experiments/enlarger.py
    danqing learn experiments/enlarger.py --export zoo/mini/danqing_models/danqing-x4    a folder that is not there yet

A step sees 128 px crops of drawings. A quarter of the small pictures goes through the autoencoder of danqing-mini, its
latents moved by a little noise, so that the enlarger knows the smeared and wavering edges of what that model paints.
The rest is made small by `danqing.learn.data.degrade.ART`: half cleanly, half blurred, some noisy or pressed. A row of
the sheet shows a small picture, bicubic, ours, the truth; the rows are of clean, poor and repainted pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from danqing import installed
from danqing.errors import InvalidInput
from danqing.finish.upscalers import OURS
from danqing.learn.data.degrade import ART, uniform
from danqing.learn.data.order import Order
from danqing.learn.measures.quality import psnr, ssim
from danqing.learn.objectives.draws import randn
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import to_arrays
from danqing.nets.autoencoder_kl import AutoencoderKL
from danqing.nets.srvgg import SRVGGNetCompact, SRVGGNetCompactConfig
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.run.precision import autocast
from danqing.weights.load import load
from experiments import cards
from experiments.common import DATA, averaged, by_muon, grid

SCALE, MEASURED, SHOWN = 4, 16, 8
CODEC = "vae.safetensors"
#: How far latents are moved, in their standard deviations, and how the share that is painted was made small before.
WAVER, CLEAN = (0.0, 0.1), replace(ART, clean=1.0)


def charbonnier(d: Tensor, soft: float) -> Tensor:
    """The mean of sqrt(d^2 + soft^2) - soft: |d| for large differences, d^2 / (2 soft) for small ones (Charbonnier et
    al. 1994).

    Most of a drawing is even, where the nearest pixels are exact: under |d| alone that is a trap, which the first steps
        do not leave.
    """
    return ((d.square() + soft**2).sqrt() - soft).mean()


WORDS = cards.Words(
    summary="drawings four times as large",
    about="""Makes drawings, and what danqing-mini paints, four times as high and as wide: the compact network of
Real-ESRGAN (Wang et al. 2021). A quarter of the small pictures it learned from went through the autoencoder of
danqing-mini; of the rest half were made small cleanly, half blurred ("poor"), and some of those noisy or pressed.
PSNR is over red, green and blue, in dB.""",
    limits="It knows even colours, gradients and the edges of drawings, not photographs: for those there is "
    "realesrgan-x4plus.",
)


@dataclass(frozen=True, kw_only=True)
class Restoring:
    """`charbonnier` of the differences + ``edge`` times that of the differences between neighbours.

    The batch is (small (B, 3, h, w), truth (B, 3, 4h, 4w)) in [0, 1].
    """

    edge: float = 1.0
    soft: float = 0.05

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        small, truth = batch
        d = model(small).float() - truth
        across, down = d[..., 1:] - d[..., :-1], d[..., 1:, :] - d[..., :-1, :]
        pixels, edges = charbonnier(d, self.soft), charbonnier(across, self.soft) + charbonnier(down, self.soft)
        return {"loss": pixels + self.edge * edges, "pixels": pixels, "edges": edges, "l1": d.abs().mean()}


@dataclass(frozen=True, kw_only=True)
class Large:
    """What `python -m experiments.data.large` made.

    Args:
        pictures: (N, 512, 512, 4) of bytes, the colours on white and the opacity.
        train, apart: indices to learn from, and held out.
    """

    pictures: np.ndarray
    train: list[int]
    apart: list[int]

    @classmethod
    def load(cls, data: Path) -> Large:
        """
        Raises:
            InvalidInput: there are none.
        """
        lines, array = data / "ledger_large.jsonl", data / "large.npy"
        if not (lines.is_file() and array.is_file()):
            raise InvalidInput(f"{data} has no large pictures: run `python -m experiments.data.large --out {data}`")
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines.open(encoding="utf-8")]
        kept = [row["index"] for row in rows if row["split"] == "train"]
        return cls(
            pictures=np.load(array, mmap_mode="r"),
            train=kept,
            apart=[row["index"] for row in rows if row["split"] != "train"],
        )

    def crop(self, index: int, size: int, noise: torch.Generator) -> Tensor:
        """A place of a picture where there is something to see, in one of its eight poses: (3, size, size) in [0, 1].

        A third is seen from twice as far; half of what is transparent lies on a colour instead of white.
        """
        far = 1 + int(torch.rand((), generator=noise) < 1 / 3)
        picture, wide = self.pictures[index], size * far
        room = picture.shape[0] - wide + 1
        places = torch.randint(room, (4, 2), generator=noise).tolist()
        cuts = [
            torch.from_numpy(picture[y : y + wide, x : x + wide].astype(np.float32)) / 255 for y, x in places
        ]  # (wide, wide, 4)
        cut = next((c for c in cuts if c[..., :3].std(dim=(0, 1)).max() > 0.02), cuts[0])
        coloured, colour = torch.rand((), generator=noise) < 0.5, torch.rand(3, generator=noise)
        if coloured:
            cut = cut[..., :3] - (1 - colour) * (1 - cut[..., 3:])
        pose = int(torch.randint(8, (), generator=noise))
        cut = cut[..., :3].rot90(pose % 4) if pose < 4 else cut[..., :3].rot90(pose % 4).transpose(0, 1)
        cut = cut.permute(2, 0, 1).clamp(0, 1)
        return F.avg_pool2d(cut, far) if far > 1 else cut.contiguous()


@cache
def painter_codec() -> AutoencoderKL:
    """The autoencoder of danqing-mini, on the device."""
    codec = load(
        installed.require("danqing-mini", CODEC), family="autoencoder-kl", device=find_device(), dtype=torch.float32
    )
    assert isinstance(codec, AutoencoderKL)
    return codec


@torch.no_grad()
def repainted(codec: AutoencoderKL, small: Tensor, noise: torch.Generator) -> Tensor:
    """Pictures (B, 3, h, w) in [0, 1] through latents that are moved, each by its own share of `WAVER`."""
    z = codec.encode(2 * small - 1).mean.float()  # (B, C, h/8, w/8)
    far = torch.tensor([uniform(WAVER, noise) for _ in z]).to(z)[:, None, None, None]
    z = z + far * z.std(dim=(1, 2, 3), keepdim=True) * randn(tuple(z.shape), noise, z)
    return ((codec.decode(z).float() + 1) / 2).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Enlarging(Experiment):
    """Small art to large art.

    Args:
        batch, crop: crops a step, and their side in pixels.
        rate: Muon's; that of the first and the last layer, by Adam, is an eighth. They fall to zero over the last
            third.
        edge, soft: see `Restoring`.
        painted: the share of small pictures that danqing-mini's autoencoder repaints.
        average: decay of the averaged network.
        net: the network.
    """

    steps: Count = 5000
    data: Free[Path] = DATA
    batch: Count = 16
    crop: Count = 128
    rate: float = 0.004
    edge: float = 1.0
    soft: float = 0.05
    painted: float = 0.25
    average: float = 0.998
    net: SRVGGNetCompactConfig = field(default_factory=lambda: SRVGGNetCompactConfig(channels=96, convolutions=20))

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        large, codec = Large.load(self.data), painter_codec()
        order, some = Order(len(large.train), self.batch, "enlarger"), round(self.batch * self.painted)
        model = primed(SRVGGNetCompact(self.net)).to(where)
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

        def batch(index: int) -> tuple[Tensor, Tensor]:
            keys = [keyed("enlarger", index, i) for i in range(self.batch)]
            truth = [
                large.crop(large.train[k], self.crop, key) for k, key in zip(order(index).tolist(), keys, strict=True)
            ]
            small = torch.stack([(CLEAN if i < some else ART)(x, keys[i]) for i, x in enumerate(truth)])
            small, sharp = send(small, where), send(torch.stack(truth), where)
            if some:
                with autocast(where):
                    small = torch.cat([repainted(codec, small[:some], keyed("repainted", index)), small[some:]])
            return small.contiguous(memory_format=torch.channels_last), sharp

        ends = ["body.0.", f"body.{len(model.body) - 1}."]
        groups = muon_groups(model, lr=self.rate, adam_lr=self.rate / 8, edges=ends)
        return by_muon(
            model,
            Restoring(edge=self.edge, soft=self.soft),
            batch,
            groups,
            steps=self.steps,
            decay=self.steps // 3,
            average=self.average,
        )

    def pairs(self, count: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Held-out pictures (count, 3, 512, 512) and what was made of them: cleanly, poorly, or repainted (count, 3,
        128, 128)."""
        large = Large.load(self.data)
        chosen = large.apart[:: max(1, len(large.apart) // count)][:count]
        truth = torch.stack([torch.tensor(large.pictures[i][..., :3]).permute(2, 0, 1) / 255 for i in chosen])
        clean = torch.stack([CLEAN(x, keyed("measured", i)) for i, x in enumerate(truth)])
        poor = torch.stack([replace(ART, clean=0.0)(x, keyed("measured", i)) for i, x in enumerate(truth)])
        where = find_device()
        painted = torch.cat(
            [repainted(painter_codec(), x.to(where), keyed("measured", i)) for i, x in enumerate(clean.split(1))]
        )
        return {"clean": (clean, truth), "poor": (poor, truth), "painted": (painted.cpu(), truth)}

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """PSNR over red, green and blue, in dB, and structural similarity: of ours, and of two filters."""
        net, found = averaged(run, SRVGGNetCompact), dict[str, list[float]]()
        for kind, (small, truth) in self.pairs(MEASURED).items():
            for x, y in zip(small, truth, strict=True):
                answers = {
                    "ours": enlarged(net, x),
                    "bicubic": filtered(x, "BICUBIC"),
                    "lanczos": filtered(x, "LANCZOS"),
                }
                for name, out in answers.items():
                    found.setdefault(f"psnr {kind} {name}", []).append(psnr(out, y))
                    found.setdefault(f"ssim {kind} {name}", []).append(float(ssim(2 * out[None] - 1, 2 * y[None] - 1)))
        return {name: sum(values) / len(values) for name, values in found.items()}

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        net, rows = averaged(run, SRVGGNetCompact), []
        for i, (small, truth) in enumerate(
            pair for x, y in self.pairs(SHOWN).values() for pair in zip(x, y, strict=True)
        ):
            if i % 3 == 0:
                low = F.interpolate(small[None], scale_factor=SCALE, mode="nearest")[0]
                row = [low, filtered(small, "BICUBIC"), enlarged(net, small), truth]
                rows += [x[:, 128:384, 128:384] for x in row]
        return grid(to_arrays(2 * torch.stack(rows) - 1), 4)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged network, under the name by which `danqing.finish.upscalers` finds it, and a card."""
        lines = (json.loads(line) for line in (self.data / "ledger_large.jsonl").open(encoding="utf-8"))
        cards.write_network(
            folder,
            run,
            core_hours,
            name="danqing-x4",
            file=OURS["danqing-x4"],
            net=averaged(run, SRVGGNetCompact),
            words=WORDS,
            rows=[row for row in lines if row["split"] == "train"],
            batch=self.batch,
            metrics=self.evaluate(run),
        )


@torch.no_grad()
def primed(net: SRVGGNetCompact) -> SRVGGNetCompact:
    """Weights to begin with: the first layer sees differences alone, each of the row turns its channels at their place
    and keeps their variance (Xiao et al. 2018, section 3.2, delta-orthogonal), the last answers zero, so that the
    nearest pixels are the answer.
    """
    layers = [layer for layer in net.body if isinstance(layer, nn.Conv2d)]
    slope = 0.25  # PReLU's at first
    nn.init.kaiming_normal_(layers[0].weight, a=slope)
    layers[0].weight -= layers[0].weight.mean((1, 2, 3), keepdim=True)
    for layer in layers[1:]:
        nn.init.zeros_(layer.weight)
    for layer in layers[1:-1]:
        layer.weight[:, :, 1, 1] = nn.init.orthogonal_(
            torch.empty(layer.weight.shape[:2]), nn.init.calculate_gain("leaky_relu", slope)
        )
    for layer in layers:
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    return net


def enlarged(net: nn.Module, small: Tensor) -> Tensor:
    """(3, h, w) -> (3, 4h, 4w) by the network, on the CPU in float32."""
    where = next(net.parameters()).device
    with autocast(where):
        return net(small[None].to(where))[0].float().clamp(0, 1).cpu()


def filtered(small: Tensor, way: str) -> Tensor:
    """The same by a filter of Pillow."""
    image = Image.fromarray((small * 255).round().byte().permute(1, 2, 0).numpy())
    image = image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling[way])
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
