"""Drawn people: an encoder that knows a person again, another that judges, and what has danqing-mini keep a person.

    python -m experiments.identity draw                   people, each drawn twice
    python -m experiments.identity judge                  who is the nearest, told apart from what conditions
    python -m experiments.identity mix                    each drawn a third time
    python -m experiments.identity redraw                 a network that draws a portrait anew as words have it
    python -m experiments.identity encoder
    python -m experiments.identity adapter                runs/identity/danqing-mini-portrait.safetensors: what ships

A person is what a drawing's options say but expression, mouth, brows, the colour of clothes and the ground: those are
another's in the second drawing (`experiments.people.otherwise`). People are drawn by seeds of their own: no encoder
is shown who is asked for in `benchmarks/identity.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from danqing.codec import VAECodec
from experiments import people, portrait, redrawn
from experiments.common import RUNS
from experiments.contrast import judge
from experiments.latents import autoencoder, encoded

HOME = RUNS / "identity"
#: How many people are learned from, and the seeds by which they and what changes of them are drawn.
PEOPLE, SEED, OTHERS = 5000, 101, 102


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["draw", "judge", "mix", "redraw", "encoder", "adapter"])
    parser.add_argument("--runs", type=Path, default=HOME)
    parser.add_argument("--steps", type=int, help="of the adapter those by the painter's loss")
    parser.add_argument("--drafted", type=int, default=200, help="steps of the adapter by what is drafted alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.stage == "draw":
        people.drawings(args.runs, "train", PEOPLE, SEED, OTHERS)
        flat = np.load(args.runs / "train.npy", mmap_mode="r")
        latents = encoded(VAECodec(autoencoder(Path("nowhere"))), flat.reshape(-1, *flat.shape[2:]))
        np.save(args.runs / "train-latents.npy", latents.reshape(*flat.shape[:2], *latents.shape[1:]))
    elif args.stage == "judge":
        judge(args.runs, args.steps or 260, 192)
    elif args.stage == "mix":
        redrawn.mix(args.runs)
    elif args.stage == "redraw":
        redrawn.redraw(args.runs, args.steps or 900)
    elif args.stage == "encoder":
        portrait.encoder(args.runs, args.steps or 150)
    else:
        portrait.adapter(args.runs, args.drafted, args.steps or 250)


if __name__ == "__main__":
    main()
