"""Train the painter of danqing-mini: a small Stable-Diffusion-shaped UNet on the autoencoder's latents, guided by the small CLIP's tokens.

    python -m experiments.painter --minutes 120

Condition dropout (10 %) makes classifier-free guidance possible; each picture's caption is drawn anew at every step, in either
language. ``--prediction v`` trains v-prediction on the cosine schedule instead of rectified flow.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from danqing.denoise import Denoiser
from danqing.guide import compose
from danqing.learn.data import Mixture
from danqing.learn.loop import EMA, Training, Trapezoid
from danqing.learn.objectives import Denoising
from danqing.learn.optim import Muon, muon_groups
from danqing.nets import clip, unet
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.run.device import device as pick_device
from danqing.run.device import send
from danqing.run.precision import autocast, precision, scaler
from danqing.schedule import Cosine, Flow, sgm_uniform
from danqing.solve import Noise, points, sample, solver
from danqing.types import Conditioning
from experiments.clip import Captioned, encode_texts
from experiments.common import DATA, RUNS, drive, fast, grid, set_up, to_bytes
from experiments.latents import SOURCES, autoencoder, averaged, shipped

SCHEDULES = {"flow": Flow(), "v": Cosine()}
SHARES = [0.68, 0.17, 0.15]  # singles, composites, portraits
SHOWN = (
    "a fox, 3d style", "狐狸，3D风格", "a dog, flat style", "a red apple, noto style", "a house, twemoji style", "火箭，扁平风格",
    "a cat to the left of a tree, 3d style, on a light blue background", "a rose, gradient style", "a car, emojione style",
    "一个微笑的女人，红色头发，戴眼镜", "a smiling man with a beard and glasses", "a pizza, blob style", "grinning face, 3d style",
    "flag of Japan, twemoji style", "两朵花，绿色背景", "",
)  # fmt: skip


class Words:
    """Captions to the tokens that the painter hears, by the frozen text tower of the small CLIP."""

    def __init__(self, tokenizer: Path, tower: clip.CLIPText, device: torch.device):
        self.tokenizer, self.tower, self.device = bilingual_tokenizer(tokenizer), tower.to(device), device

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Conditioning:
        with autocast(self.device):
            heard = self.tower(send(encode_texts(self.tokenizer, texts), self.device))
        return Conditioning(tokens=heard.tokens.float(), pooled=heard.pooled.float())


def text_tower(runs: Path = RUNS) -> clip.CLIPText:
    """The trained text tower alone, of the checkpoint or else of the zoo."""
    if not (runs / "clip" / "last.pt").exists():
        return cast(clip.CLIPText, shipped("text").requires_grad_(False))
    whole = clip.CLIP(clip.MINI)
    averaged(runs / "clip" / "last.pt", whole)
    tower = clip.CLIPText(clip.MINI_TEXT)
    tower.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith("text_")})
    return tower.eval().requires_grad_(False)


class Latents:
    """step -> (latents (B, 8, 16, 16), what they are conditioned on)."""

    def __init__(self, data: Path, words: Words, batch: int, device: torch.device, dropout: float = 0.1):
        self.source, self.words, self.device, self.dropout = Captioned(data), words, device, dropout
        self.latents = [np.load(data / f"latents-{name}.npy", mmap_mode="r") for name in SOURCES]
        self.order = Mixture([len(rows) for rows in self.source.rows], SHARES, batch, "painter")

    def __call__(self, step: int) -> tuple[Tensor, Conditioning]:
        draw = random.Random(step)
        shown, said = [], []
        for kind, items in enumerate(self.order(step)):
            for item in items.tolist():
                shown.append(self.latents[kind][self.source.rows[kind][item]["index"]])
                text = self.source.caption(kind, item, draw)[draw.choice(("en", "zh"))]
                said.append("" if draw.random() < self.dropout else text)
        return send(torch.from_numpy(np.stack(shown)).float(), self.device), self.words(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--name", default="painter", help="the folder of this run inside --runs")
    parser.add_argument("--prediction", choices=sorted(SCHEDULES), default="flow")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--decay", type=int, default=0, help="cool down over the last so many steps")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--from-zoo", action="store_true", help="begin with the shipped painter's weights, not with random ones")
    parser.add_argument("--sample-every", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = pick_device()

    words = Words(args.data / "tokenizer.json", text_tower(args.runs), device)
    torch.manual_seed(0)
    net = unet.UNet(unet.MINI)
    if args.from_zoo:
        net.load_state_dict(shipped("denoiser").state_dict())
    net.to(device)
    model = Denoiser(net, SCHEDULES[args.prediction], args.prediction)
    edges = ["net.conv_in", "net.conv_out", "net.time_embedding"]
    run = Training(
        model=model,
        objective=Denoising(),
        batches=Latents(args.data, words, args.batch, device),
        optimisers={"loss": Muon(muon_groups(model, lr=args.rate, adam_lr=1e-3, edges=edges), dtype=precision(device))},
        rate=Trapezoid(200, args.steps, args.decay),
        ema=EMA(model, 0.9995),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    codec = autoencoder(args.runs).to(device)

    @torch.inference_mode()
    def sheet():
        assert run.ema is not None
        denoiser, count = run.ema.model, len(SHOWN)
        assert isinstance(denoiser, Denoiser)
        noise = Noise.of(7, range(count))
        visited = points(denoiser.schedule, sgm_uniform(denoiser.schedule, 20))
        x = noise(torch.empty(count, 8, 16, 16, device=device)) * visited[0].sigma
        with autocast(device):
            guided = compose(denoiser, [(words(list(SHOWN)), 4.0)], words([""]))
            for state in sample(guided, solver("dpmpp-2m"), visited, x, noise):
                x = state.x
            return grid(to_bytes(codec.decode(x / codec.config.scaling_factor + codec.config.shift_factor)), 8)

    drive(run, args.runs / args.name, args.steps, minutes=args.minutes, sample=sheet, sample_every=args.sample_every)


if __name__ == "__main__":
    main()
