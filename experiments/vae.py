"""Train the VAE: 64 px art as a vector of 128 numbers, and new art from the prior.

    python -m experiments.vae --minutes 30

A sheet of samples has three parts: pictures and what their latents' means decode to; pictures from the prior; and an arc between
two latents a row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from danqing.learn.data import keyed
from danqing.learn.elbo import EvidenceBound
from danqing.learn.loop import EMA, Training, Trapezoid
from danqing.learn.optim import Muon, muon_groups
from danqing.nets.vae import ART, VAE, prior, slerp
from danqing.run.device import device as pick_device
from danqing.run.device import send
from danqing.run.precision import autocast, precision, scaler
from danqing.weights.load import save
from experiments.art import Art, unit
from experiments.common import DATA, RUNS, drive, fast, grid, set_up, to_bytes


def export(run: Training, path: Path) -> Path:
    """The averaged weights in bf16, with their config."""
    assert run.ema is not None
    return save(run.ema.model, path, dtype=torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RUNS / "vae")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = pick_device()

    torch.manual_seed(0)
    model = VAE(ART).to(device)
    arrays = ("singles", "portraits")
    train, kept = Art.load(args.data, ART.image_size, arrays=arrays), Art.load(args.data, ART.image_size, split="heldout_pair")
    batches = train.batches(args.batch, "vae", mirror=True)
    edges = ["encoder.conv_in", "encoder.out", "decoder.inward", "decoder.conv_out"]
    halves = torch.nn.ModuleDict({"encoder": model.encoder, "decoder": model.decoder})
    groups = muon_groups(halves, lr=args.rate, adam_lr=1e-3, edges=edges)
    # The scale has to keep up with the errors, which fall by an order of magnitude: 1e-3 a step would hold it back.
    groups.append(dict(params=[model.log_scale], lr=0.02, muon=False, weight_decay=0.0))
    run = Training(
        model=model,
        objective=EvidenceBound(beta=args.beta),
        batches=lambda step: unit(send(batches(step)[0], device)),
        optimisers={"loss": Muon(groups, dtype=precision(device))},
        rate=Trapezoid(100, args.steps, args.steps // 4),
        ema=EMA(model, 0.998),
        autocast=lambda: fast(device),
        scaler=scaler(device),
    )
    assert run.ema is not None and isinstance(run.ema.model, VAE)
    average = run.ema.model
    shown, apart = (unit(some.pictures[:: len(some.pictures) // n][:n]).to(device) for some, n in ((train, 12), (kept, 256)))

    @torch.inference_mode()
    def sample():
        with autocast(device):
            back, posterior = average(shown, torch.zeros(()))  # the mean of the posterior, decoded
            drawn = average.decode(prior([keyed("sample", i) for i in range(24)], ART.latent_dim).to(device))
            ends = posterior.mean.float().unflatten(0, (3, 4))  # between every other picture
            arcs = slerp(ends[:, :2].flatten(0, 1), ends[:, 2:].flatten(0, 1), torch.linspace(0, 1, 8, device=device))  # (8, 6, D)
            between = average.decode(arcs.transpose(0, 1).flatten(0, 1))
        pairs = torch.stack([shown, back.float()], 1).flatten(0, 1)
        return grid(to_bytes(torch.cat([pairs, drawn.float(), between.float()])), 8)

    @torch.inference_mode()
    def evaluate():
        """The bound on pictures that were never seen."""
        parts = [EvidenceBound()(average, some, keyed("evaluate", i)) for i, some in enumerate(apart.split(64))]
        return {f"held out {name}": sum(float(part[name]) for part in parts) / len(parts) for name in ("bits", "distortion", "rate")}

    drive(run, args.out, args.steps, minutes=args.minutes, sample=sample, sample_every=500, evaluate=evaluate)
    print(export(run, args.out / "vae.safetensors"), flush=True)


if __name__ == "__main__":
    main()
