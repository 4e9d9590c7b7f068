"""Train the judge that measures the painter: a classifier of subject and style, on real art alone.

    python -m experiments.judge --minutes 10

It never sees a held-out picture, so its score on the real held-out pictures is the ceiling that painted ones are
compared with.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.learn.data.order import Order
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.levels import from_arrays
from danqing.noise import keyed
from danqing.run.device import find_device, send
from danqing.run.precision import find_precision, scaler
from experiments.common import DATA, RUNS, drive, fast, set_up


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm x))))), halving the grid first where the width grows."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, out)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(channels, out, 1, bias=False) if channels != out else nn.Identity()
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(self.pool(x)) + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class Judge(nn.Module):
    """Pictures (B, 3, 128, 128) in [-1, 1] to logits of subject (B, S) and style (B, T).

    A style is a matter of texture and line, so it is read from the means and deviations of the first blocks' features,
    which hold
    no subject yet: read where the subject is, it was learnt by heart, picture by picture.
    """

    def __init__(self, subjects: int, styles: int, width: int = 48):
        super().__init__()
        w = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Conv2d(3 * 16, w[0], 3, padding=1)
        self.body = nn.Sequential(
            Residual(w[0], w[0], 1),
            Residual(w[0], w[1], 2),
            Residual(w[1], w[1], 1),
            Residual(w[1], w[2], 2),
            Residual(w[2], w[2], 1),
            Residual(w[2], w[3], 2),
            Residual(w[3], w[3], 1),
        )  # 32 -> 16 -> 8 -> 4
        self.norm = nn.GroupNorm(8, w[3])
        self.subject, self.style = nn.Linear(w[3], subjects), nn.Linear(2 * (w[0] + w[0] + w[1] + w[1]), styles)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.stem(F.pixel_unshuffle(x, 4))
        texture = [h]
        for block in self.body:
            texture.append(h := block(h))
        flat = [t.flatten(2).float() for t in texture[:4]]  # 32 and 16 squared
        style = torch.cat([moment for t in flat for moment in (t.mean(2), (t.var(2) + 1e-4).sqrt())], dim=1)
        return self.subject(F.silu(self.norm(h)).mean((2, 3))), self.style(style)


@dataclass(frozen=True)
class Classify:
    """Cross entropy of subject and style with smoothed labels."""

    smoothing: float = 0.1

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], noise: torch.Generator
    ) -> dict[str, Tensor]:
        pictures, subject, style = batch
        a, b = model(pictures)
        losses = [
            F.cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)
            for logits, labels in ((a, subject), (b, style))
        ]
        return {
            "loss": losses[0] + losses[1],
            "subject": (a.argmax(1) == subject).float().mean(),
            "style": (b.argmax(1) == style).float().mean(),
        }


def jitter(pictures: Tensor, noise: torch.Generator) -> Tensor:
    """Small turns, shifts, stretches and changes of brightness, by one affine map a picture; white outside."""
    n = len(pictures)
    turn, scale = 0.15 * torch.randn(n, generator=noise), 1 + 0.12 * torch.randn(n, 2, generator=noise)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() * scale[:, 0], -turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin(), turn.cos() * scale[:, 1]
    theta[:, :, 2] = 0.08 * torch.randn(n, 2, generator=noise)
    where = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures - 1, where, align_corners=False) + 1
    return moved * (1 + 0.1 * torch.randn(n, 3, 1, 1, generator=noise)) + 0.1 * torch.randn(n, 3, 1, 1, generator=noise)


class Labels:
    """The ledger's singles with their subject and style as numbers."""

    def __init__(self, data: Path):
        self.rows = [row for row in map(json.loads, (data / "ledger.jsonl").open()) if row["array"] == "singles"]
        self.subjects = {name: i for i, name in enumerate(sorted({row["subject"] for row in self.rows}))}
        self.styles = {name: i for i, name in enumerate(sorted({row["style"] for row in self.rows}))}

    def of(self, rows: list[dict]) -> tuple[Tensor, Tensor]:
        return (
            torch.tensor([self.subjects[row["subject"]] for row in rows]),
            torch.tensor([self.styles[row["style"]] for row in rows]),
        )


@torch.inference_mode()
def score(model: nn.Module, pictures: Tensor, subject: Tensor, style: Tensor) -> dict[str, float]:
    """How many are recognised: subject (first and among the first five) and style, in percent."""
    logits = [model(part) for part in pictures.split(64)]
    a, b = torch.cat([x for x, _ in logits]).float(), torch.cat([y for _, y in logits]).float()
    five = (a.topk(5, dim=1).indices == subject[:, None]).any(1)
    percent = {"subject": a.argmax(1) == subject, "subject in five": five, "style": b.argmax(1) == style}
    return {name: round(100 * float(right.float().mean()), 1) for name, right in percent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RUNS / "judge")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = find_device()

    torch.manual_seed(0)
    labels = Labels(args.data)
    pictures = np.load(args.data / "singles.npy", mmap_mode="r")
    train = [row for row in labels.rows if row["split"] == "train"]
    subject, style = labels.of(train)
    order = Order(len(train), args.batch, "judge")
    model = Judge(len(labels.subjects), len(labels.styles)).to(device)

    def batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
        items = order(step)
        shown = jitter(
            from_arrays(np.stack([pictures[train[i]["index"]] for i in items.tolist()])), keyed("jitter", step)
        )
        return send(shown, device), send(subject[items], device), send(style[items], device)

    groups = muon_groups(model, lr=0.02, adam_lr=2e-3, edges=["stem", "subject", "style"], weight_decay=0.05)
    run = Training(
        model=model,
        objective=Classify(),
        batches=batch,
        optimisers={"loss": Muon(groups, dtype=find_precision(device))},
        rate=Trapezoid(100, args.steps, args.steps // 2),
        ema=EMA(model, 0.995),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    drive(run, args.out, args.steps, minutes=args.minutes)
    assert run.ema is not None
    for split in ("heldout_pair", "heldout_subject"):
        rows = [row for row in labels.rows if row["split"] == split]
        real = from_arrays(np.stack([pictures[row["index"]] for row in rows])).to(device)
        print(split, len(rows), score(run.ema.model, real, *(x.to(device) for x in labels.of(rows))), flush=True)


if __name__ == "__main__":
    main()
