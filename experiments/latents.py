"""Encode every picture once with the trained autoencoder: the painter trains on latents.

    python -m experiments.latents

Writes latents-<source>.npy, (N, 8, 16, 16) float16, already shifted and scaled to unit variance, and latents.json with
both numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from danqing.codec import VAECodec
from danqing.levels import from_arrays
from danqing.nets import autoencoder_kl
from danqing.run.device import find_device
from danqing.run.precision import autocast
from danqing.store.find import find
from danqing.store.shipped import DEFAULT
from danqing.weights.load import load
from experiments.common import DATA, RUNS, set_up

SOURCES = ("singles", "composites", "portraits", "recoloured")


def averaged(checkpoint: Path, model: nn.Module) -> nn.Module:
    """The model with the averaged weights of a training's checkpoint, ready to use."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["ema"]["model"])
    return model.eval().requires_grad_(False)


def shipped(role: str, named: str | Path = DEFAULT) -> nn.Module:
    """A network of the model in the zoo or of another, in fp32: what a new training starts from where no checkpoint is
    left."""
    model = find(named)
    return load(model.path(model.components[role].file), dtype=torch.float32)


def committed() -> int:
    """How many samples the shipped painter has seen, as its evaluation states beside the weights; 0 where none does."""
    path = find(DEFAULT).folder / "evaluation.json"
    return int(json.loads(path.read_text()).get("samples", 0)) if path.exists() else 0


def committed_tokenizer() -> dict[str, Any]:
    """What the shipped model's tokenizer file says."""
    model = find(DEFAULT)
    return json.loads(model.path(model.tokenizer["file"]).read_text(encoding="utf-8"))


def autoencoder(runs: Path = RUNS) -> autoencoder_kl.AutoencoderKL:
    """The trained autoencoder, of the checkpoint or else of the zoo, with the scale and shift of its latents in its
    config where they are known."""
    if not (runs / "autoencoder" / "last.pt").exists():
        return cast(autoencoder_kl.AutoencoderKL, shipped("codec"))
    config = autoencoder_kl.MINI
    known = runs / "autoencoder" / "latents.json"
    if known.exists():
        config = dataclasses.replace(config, **json.loads(known.read_text()))
    model = autoencoder_kl.AutoencoderKL(config)
    averaged(runs / "autoencoder" / "last.pt", model)
    return model


@torch.inference_mode()
def encoded(codec: VAECodec, pictures: Iterable[np.ndarray]) -> np.ndarray:
    """The latents of pictures (H, W, 3) of bytes, (N, C, h, w) float16, computed where the codec's weights are."""
    device, left = next(codec.vae.parameters()).device, iter(pictures)
    codec.vae.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parts = []
    while some := list(itertools.islice(left, 32 if device.type == "cpu" else 256)):
        x = from_arrays(np.stack(some)).to(device, memory_format=torch.channels_last)
        with autocast(device):
            parts.append(codec.encode(x).half().cpu().numpy())
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_up(args.threads)
    device = find_device()
    known = args.runs / "autoencoder" / "latents.json"

    if (
        known.parent.exists() and not known.exists()
    ):  # the statistics are of the art that may be trained on, once and for all
        ledger = [json.loads(line) for line in (args.data / "ledger.jsonl").open()]
        train = [row["index"] for row in ledger if row["array"] == "singles" and row["split"] == "train"]
        plain = VAECodec(autoencoder(args.runs).to(device))  # scale 1, shift 0
        singles = np.load(args.data / "singles.npy", mmap_mode="r")
        z = encoded(plain, (singles[i] for i in train[::8])).astype(np.float32)
        known.write_text(json.dumps({"scaling_factor": float(1 / z.std()), "shift_factor": float(z.mean())}))
    codec = VAECodec(autoencoder(args.runs).to(device))
    for source in args.sources:
        z = encoded(codec, np.load(args.data / f"{source}.npy", mmap_mode="r"))
        np.save(args.data / f"latents-{source}.npy", z)
        print(source, z.shape, f"std {z.astype(np.float32).std():.3f}", flush=True)


if __name__ == "__main__":
    main()
