"""Train the autoencoder of danqing-mini: 128 px pictures to 16 x 16 x 8 latents and back.

    python -m experiments.autoencoder --minutes 15

The networks are convolutional, so random crops of 64 px teach the same weights at a quarter of the cost. Singles get a
random
plain background half of the time: the art on white alone would teach white.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danqing.learn.data.order import Mixture
from danqing.learn.objectives.autoencoding import Autoencoding
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.levels import from_arrays, to_arrays
from danqing.nets import autoencoder_kl
from danqing.run.device import find_device, send
from danqing.run.precision import autocast, scaler, training_precision
from experiments.common import DATA, RUNS, drive, fast, grid, set_up


class Crops:
    """step -> pictures (B, 3, size, size) in [-1, 1] cut at random from all that may be trained on."""

    def __init__(self, data: Path, batch: int, size: int, seed: int = 0):
        self.size, self.seed = size, seed
        ledger = [json.loads(line) for line in (data / "ledger.jsonl").open()]
        singles = [row for row in ledger if row["array"] == "singles"]
        self.train = np.array([row["index"] for row in singles if row["split"] == "train"])
        self.singles = np.load(data / "singles.npy", mmap_mode="r")
        self.alpha = np.load(data / "singles_alpha.npy", mmap_mode="r")
        others = [data / f"{name}.npy" for name in ("composites", "portraits")]
        self.others = [np.load(path, mmap_mode="r") for path in others if path.exists()]
        shares = [1.0, 0.3, 0.3][: 1 + len(self.others)]
        self.order = Mixture([len(self.train), *map(len, self.others)], shares, batch, seed)

    def __call__(self, step: int) -> Tensor:
        draw = np.random.default_rng([self.seed, step])
        singles, *rest = self.order(step)
        crops = [self._cut(self._on_colour(int(self.train[i]), draw), draw) for i in singles.tolist()]
        crops += [
            self._cut(pictures[i], draw)
            for pictures, items in zip(self.others, rest, strict=True)
            for i in items.tolist()
        ]
        return from_arrays(np.stack(crops))

    def _on_colour(self, index: int, draw: np.random.Generator) -> np.ndarray:
        picture = self.singles[index]
        if draw.random() < 0.5:
            return picture
        cover = self.alpha[index].astype(np.float32)[..., None] / 255  # (128, 128, 1)
        over_white = picture.astype(np.float32) - 255 * (1 - cover)  # the premultiplied colour
        return np.clip(over_white + draw.integers(0, 256, 3) * (1 - cover), 0, 255).astype(np.uint8)

    def _cut(self, picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        room = picture.shape[0] - self.size + 1
        y, x = draw.integers(0, room, 2)
        cut = picture[y : y + self.size, x : x + self.size]
        return cut[:, ::-1] if draw.random() < 0.5 else cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RUNS / "autoencoder")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.015)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = find_device()

    torch.manual_seed(0)
    model = autoencoder_kl.AutoencoderKL(autoencoder_kl.MINI).to(device)
    crops = Crops(args.data, args.batch, args.crop)
    edges = [f"{half}.conv_{end}" for half in ("encoder", "decoder") for end in ("in", "out")]
    groups = muon_groups(model, lr=args.rate, adam_lr=1e-3, edges=[*edges, "quant", "post_quant"])
    run = Training(
        model=model,
        objective=Autoencoding(edge=1.0, kl=1e-3, equivariance=0.25),
        batches=lambda step: send(crops(step), device),
        optimisers={"loss": Muon(groups, dtype=training_precision(device))},
        rate=Trapezoid(100, args.steps, args.steps // 4),
        ema=EMA(model, 0.998),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    shown = from_arrays(np.asarray(crops.singles[crops.train[:: len(crops.train) // 24][:24]])).to(device)

    @torch.inference_mode()
    def sample():
        assert run.ema is not None
        with autocast(device):
            out, _ = run.ema.model(shown, torch.zeros(()))  # the mean of the posterior, decoded
        pairs = torch.stack([shown, out.float()], 1).flatten(0, 1)
        return grid(to_arrays(pairs), 8)

    drive(run, args.out, args.steps, minutes=args.minutes, sample=sample, sample_every=500)


if __name__ == "__main__":
    main()
