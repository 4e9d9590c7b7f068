"""Teach the text tower to draft: its summary alone, through one linear layer, says what the latent of the picture is on
average.

    python -m experiments.draft --steps 1000

The loss is that of denoising at pure noise, |x0 - draft(text)|^2, whose minimum is E[x0 | text], a blurred picture of
the subject in its style. It costs a text tower's step where the painter's costs a UNet's, so the words that name two
thousand subjects are learned here, and the painter (`experiments.painter`) begins with both, the tower and the layer.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from danqing.learn.data.order import Mixture
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.nets import clip
from danqing.nets.drafted import Draft
from danqing.prompt.tokenize import Tokenizer, bilingual_tokenizer
from danqing.run.device import find_device, send
from danqing.run.precision import find_precision, scaler
from experiments.clip import Captioned, encode_texts
from experiments.common import DATA, RUNS, drive, fast, set_up
from experiments.latents import SOURCES, averaged, shipped

SHARES = [0.75, 0.15, 0.10]  # singles, composites, portraits
CHINESE = 0.6  # of the captions: its characters must be put together, where an English word is one token


def text_tower(runs: Path = RUNS) -> clip.CLIPText:
    """The trained text tower alone, of the checkpoint or else of the zoo."""
    if not (runs / "clip" / "last.pt").exists():
        return cast(clip.CLIPText, shipped("text"))
    whole = clip.CLIP(clip.MINI)
    averaged(runs / "clip" / "last.pt", whole)
    tower = clip.CLIPText(clip.MINI_TEXT)
    tower.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith("text_")})
    return tower


class Latents:
    """step -> (latents (B, 8, 16, 16), token ids of their captions (B, L))."""

    def __init__(self, data: Path, tokenizer: Tokenizer, batch: int, device: torch.device, dropout: float = 0.1):
        self.source, self.tokenizer, self.device, self.dropout = Captioned(data), tokenizer, device, dropout
        self.latents = [np.load(data / f"latents-{name}.npy", mmap_mode="r") for name in SOURCES]
        self.order = Mixture([len(rows) for rows in self.source.rows], SHARES, batch, "painter")

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        draw = random.Random(step)
        shown, said = [], []
        for kind, items in enumerate(self.order(step)):
            for item in items.tolist():
                shown.append(self.latents[kind][self.source.rows[kind][item]["index"]])
                text = self.source.caption(kind, item, draw)["zh" if draw.random() < CHINESE else "en"]
                said.append("" if draw.random() < self.dropout else text)
        return send(torch.from_numpy(np.stack(shown)).float(), self.device), send(
            encode_texts(self.tokenizer, said), self.device
        )


class Drafting(nn.Module):
    """Token ids (B, L) to the mean latent, (B, 8, 16, 16)."""

    def __init__(self, tower: clip.CLIPText):
        super().__init__()
        self.tower, self.draft = tower, Draft(tower.config.hidden_size, 8, 16)

    def forward(self, ids: Tensor) -> Tensor:
        return self.draft(self.tower(ids).pooled)


def drafting(model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
    """Mean squared error of the draft; the latents' variance is 1, so this is the part of it that the words leave
    open."""
    x0, ids = batch
    return {"loss": (model(ids).float() - x0).square().mean()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = find_device()

    torch.manual_seed(0)
    tokenizer = bilingual_tokenizer(args.data / "tokenizer.json")
    model = Drafting(text_tower(args.runs)).requires_grad_(True).to(device)
    groups = muon_groups(model, lr=0.01, adam_lr=2e-3, edges=["draft"], weight_decay=0.05)
    run = Training(
        model=model,
        objective=drafting,
        batches=Latents(args.data, tokenizer, args.batch, device),
        optimisers={"loss": Muon(groups, dtype=find_precision(device))},
        rate=Trapezoid(50, args.steps, args.steps // 2),
        ema=EMA(model, 0.98),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    drive(run, args.runs / "draft", args.steps, minutes=args.minutes)


if __name__ == "__main__":
    main()
