"""Train the PixelCNN: 32 px art in 256 colours, pixel by pixel, by class.

    python -m experiments.pixelcnn --minutes 60

Why a palette: one softmax then holds the whole colour, so a drawn pixel is always a colour of the art, where three channels drawn one
after the other go wrong in each; and a pixel takes one draw instead of three. 256 colours miss the art's by 7.3 of 255 (root mean
square over all that is not white), most of it along edges.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from danqing.learn.autoregressive import Autoregressive
from danqing.learn.data import keyed
from danqing.learn.loop import EMA, Training, Trapezoid
from danqing.learn.optim import Muon, muon_groups
from danqing.learn.palette import palette
from danqing.nets import pixelcnn
from danqing.nets.pixel_heads import Palette
from danqing.run.device import device as pick_device
from danqing.run.device import send
from danqing.run.precision import precision, scaler
from danqing.weights.load import save
from experiments.art import Art
from experiments.common import DATA, RUNS, drive, fast, grid, set_up

SIZE = 32


def colours(art: Art, count: int) -> Tensor:
    """The palette of the art, (K, 3) whole numbers from 0 to 255: white first, the rest fitted to all that is not white."""
    pixels = art.pictures.movedim(1, -1).flatten(0, 2)  # (N·S·S, 3)
    drawn = pixels[(pixels < 255).any(1)]
    some = drawn[torch.randint(len(drawn), (100_000,), generator=keyed("palette", "pixels"))].float()
    return palette(some, count, keyed("palette", "start"), fixed=torch.full((1, 3), 255.0)).round()


def export(run: Training, path: Path, names: tuple[str, ...]) -> Path:
    """The averaged weights in bf16, with their config and the classes' names."""
    assert run.ema is not None
    return save(run.ema.model, path, {"classes": "\n".join(names)}, dtype=torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RUNS / "pixelcnn")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = pick_device()

    torch.manual_seed(0)
    train, kept = Art.load(args.data, SIZE), Art.load(args.data, SIZE, split="heldout_pair")
    model = pixelcnn.PixelCNN(dataclasses.replace(pixelcnn.ART, classes=len(train.names)))
    assert isinstance(model.head, Palette)
    model.head.palette.copy_(colours(train, model.config.levels))
    symbols, apart = model.head.quantise(train.pictures), model.head.quantise(kept.pictures[:256])  # (N, S, S, 1), int64
    seen = dataclasses.replace(train, pictures=symbols.movedim(-1, 1).to(torch.uint8))
    batches = seen.batches(args.batch, "pixelcnn", mirror=True)
    model = model.to(device)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x, labels = batches(step)
        return send(x, device).movedim(1, -1).long(), send(labels, device)

    groups = muon_groups(model, lr=args.rate, adam_lr=1e-3, edges=["head.out"])
    run = Training(
        model=model,
        objective=Autoregressive(),
        batches=batch,
        optimisers={"loss": Muon(groups, dtype=precision(device))},
        rate=Trapezoid(100, args.steps, args.steps // 4),
        ema=EMA(model, 0.998),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    assert run.ema is not None and isinstance(run.ema.model, pixelcnn.PixelCNN)
    average = run.ema.model
    asked = torch.arange(24, device=device) * len(train.names) // 24

    @torch.inference_mode()
    def sample():
        noises = [keyed("sample", i) for i in range(len(asked))]
        drawn = torch.stack(list(pixelcnn.sample(average, noises, SIZE, SIZE, asked)), 1)
        return grid(average.head.picture(drawn).movedim(1, -1).cpu().numpy(), 8)

    @torch.inference_mode()
    def evaluate():
        """On pictures that were never seen."""
        pairs = zip(apart.split(32), kept.labels[:256].split(32), strict=True)
        bits = [Autoregressive()(average, (x.to(device), label.to(device)), keyed())["loss"] for x, label in pairs]
        return {"held out bits": float(torch.stack(bits).mean())}

    drive(run, args.out, args.steps, minutes=args.minutes, sample=sample, sample_every=500, evaluate=evaluate)
    print(export(run, args.out / "pixelcnn.safetensors", train.names), flush=True)


if __name__ == "__main__":
    main()
