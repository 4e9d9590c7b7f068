"""Pairs of subject and style that no set has: what the picture would be on average, by the subject's pictures in other
styles.

    python -m experiments.missing --data data

Of 1,914 subjects in eight styles four pairs in fifteen have no picture that is trained on, and the words of such a pair
are drafted worst. What a fox is in one set says more of what it is in another than words do: a small U-Net reads all
of a subject's latents but one, where they are, and learns to say that one. `experiments.completed` reads what it says:

    data/latents-missing.npy    of each pair that is missing, averaged with what its words draft, and the same with its
                                hues turned, (N, 8, 16, 16) float16
    data/missing.json           of each a line as the ledger has them
    data/latents-others.npy     of each single picture that is trained on, by those in the other styles, in the
                                ledger's order; NaN where there are none

No held-out picture is read: to this as to all trainings its pair is one that is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.codec import VAECodec
from danqing.learn.data.order import Order
from danqing.learn.training.optim import muon_groups
from danqing.levels import to_arrays
from danqing.nets import clip
from danqing.nets.drafted import DraftedUNet
from danqing.nets.pixel_unet import PixelUNet, PixelUNetConfig
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.run.device import find_device, send
from danqing.run.precision import autocast
from experiments.art import ledger
from experiments.captions import canonical
from experiments.clip import encode_texts
from experiments.common import DATA, RUNS, averaged, by_muon, drive, quick, set_up
from experiments.data.colours import turned
from experiments.data.recoloured import copied, turns
from experiments.data.singles import people
from experiments.latents import autoencoder, encoded, shipped

PICTURES, LINES, OTHERS = "latents-missing.npy", "missing.json", "latents-others.npy"
STEPS, BATCH, WIDTHS = 700, 128, (64, 128, 128)
LEFT_OUT = 0.5  # the most of a subject's other pictures that a step leaves out


@dataclass(frozen=True)
class Shelf:
    """The single pictures by subject and style.

    Args:
        subjects, styles: their names.
        latents: (S, K, 8, 16, 16), zero where there is none.
        there: 1 where there is one, (S, K).
        at: of each picture, in the ledger's order, its subject and style, (N, 2).
        lines: a subject -> a line of the ledger that shows it.
    """

    subjects: Sequence[str]
    styles: Sequence[str]
    latents: Tensor
    there: Tensor
    at: Tensor
    lines: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, data: Path) -> Shelf:
        """Those that are trained on."""
        rows = ledger(data, ("singles",), "train")
        latents = np.load(data / "latents-singles.npy", mmap_mode="r")
        subjects, styles = (sorted({row[name] for row in rows}) for name in ("subject", "style"))
        at = torch.tensor([(subjects.index(row["subject"]), styles.index(row["style"])) for row in rows])
        held = torch.zeros(len(subjects), len(styles), *latents.shape[1:])
        there = torch.zeros(len(subjects), len(styles))
        held[*at.T] = torch.from_numpy(latents[[row["index"] for row in rows]]).float()
        there[*at.T] = 1
        return cls(subjects, styles, held, there, at, {row["subject"]: row for row in rows})

    def pairs(self, there: bool) -> Tensor:
        """The (subject, style) that have a picture, or that have none, of subjects that have others: (N, 2)."""
        return ((self.there == float(there)) & (self.there.sum(1, keepdim=True) > float(there))).nonzero()

    def said(self, pairs: Tensor) -> list[dict[str, Any]]:
        """Of pairs (N, 2) a line each, as the ledger has them; of no colour, since nobody has seen one."""
        names = [(self.subjects[int(s)], self.styles[int(k)]) for s, k in pairs]
        return [{**self.lines[subject], "style": style, "colours": []} for subject, style in names]


class Imputer(nn.Module):
    """``E[x_(s, k) | x_(s, j), j ≠ k]``: a subject's picture in a style, by those in the others.

    A `PixelUNet`, whose class is the style that is asked for, reads the other latents about their styles' means, zero
    where there are none, and beside them which there are; it says the difference to that style's mean.

    Args:
        means: of each style's latents, (K, C, H, W).
    """

    means: Tensor

    def __init__(self, means: Tensor):
        super().__init__()
        styles, channels = means.shape[:2]
        self.net = PixelUNet(
            PixelUNetConfig(
                in_channels=styles * (channels + 1),
                out_channels=channels,
                block_out_channels=WIDTHS,
                layers_per_block=1,
                attention_heads=(0, 0, 0),
                scale_shift=True,
                classes=styles,
            )
        )
        self.register_buffer("means", means)

    def forward(self, latents: Tensor, there: Tensor, style: Tensor) -> Tensor:
        """Latents (B, K, C, H, W), which of them are read (B, K), the styles that are asked for (B,): (B, C, H, W)."""
        about = (latents - self.means) * there[:, :, None, None, None]
        planes = there[:, :, None, None].expand(-1, -1, *latents.shape[-2:])
        asked = F.one_hot(style, len(self.means)).to(about)
        inputs = torch.cat([about.flatten(1, 2), planes], 1)
        return self.means[style] + self.net(inputs, torch.zeros_like(asked[:, 0]), pooled=asked)


def others(there: Tensor, style: Tensor) -> Tensor:
    """Which pictures there are beside those of a style, (B, K)."""
    return there * (1 - F.one_hot(style, there.shape[1]))


def left_out(there: Tensor, noise: torch.Generator) -> Tensor:
    """Of what there is some, up to `LEFT_OUT`, but never all."""
    part = LEFT_OUT * torch.rand(len(there), 1, generator=noise)
    some = there * (torch.rand(there.shape, generator=noise) >= part)
    return torch.where(some.sum(1, keepdim=True) > 0, some, there)


def imputing(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
    """Mean squared error of (a subject's latents (B, K, C, H, W), which there are (B, K), the style that is asked
    for (B,))."""
    latents, there, style = batch
    some = left_out(others(there, style).cpu(), noise).to(latents.device)
    truth = latents[torch.arange(len(style), device=style.device), style]
    return {"loss": (model(latents, some, style).float() - truth).square().mean()}


@torch.inference_mode()
def imputed(model: Imputer, shelf: Shelf, pairs: Tensor) -> Tensor:
    """What an imputer says of pairs (N, 2): (N, C, H, W), on the CPU."""
    device = model.means.device
    said = []
    for subjects, styles in (part.unbind(1) for part in pairs.split(BATCH)):
        some = others(shelf.there[subjects], styles)
        said.append(model(*(send(x, device) for x in (shelf.latents[subjects], some, styles))).float().cpu())
    return torch.cat(said)


@torch.inference_mode()
def worded(data: Path, lines: Sequence[Mapping[str, Any]]) -> Tensor:
    """What the shipped model drafts of the plainest English captions of lines: (N, C, H, W)."""
    net, tower = cast(DraftedUNet, shipped("denoiser")), cast(clip.CLIPText, shipped("text"))
    ids = encode_texts(bilingual_tokenizer(data / "tokenizer.json"), [canonical(line, "en") for line in lines])
    return torch.cat([net.draft(tower(part).pooled) for part in ids.split(BATCH)])


@torch.inference_mode()
def recoloured(
    lines: Sequence[Mapping[str, Any]], latents: Tensor, codec: VAECodec
) -> tuple[list[dict[str, Any]], Tensor]:
    """Pictures (N, C, H, W) with their hues turned, as `experiments.data.recoloured` turns those that there are; what
    is not white counts as drawn."""
    said, drawn = [], []
    device = next(codec.vae.parameters()).device
    for first in range(0, len(lines), BATCH):
        with autocast(device):
            pictures = to_arrays(codec.decode(send(latents[first : first + BATCH].float(), device)))
        for line, picture in zip(lines[first : first + BATCH], pictures, strict=True):
            for degrees, colours in turns(line, picture, 255 - picture.min(-1)):
                said.append(copied(line, degrees, colours))
                drawn.append(turned(picture, degrees, people(line)))
    return said, torch.from_numpy(encoded(codec, drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    set_up(args.threads)
    torch.manual_seed(0)
    device, shelf = find_device(), Shelf.of(args.data)
    means = shelf.latents.sum(0) / shelf.there.sum(0)[:, None, None, None]
    model = Imputer(means).to(device)
    quick(model.net, device)
    pairs = shelf.pairs(True)
    order = Order(len(pairs), BATCH, "missing")

    def batches(step: int) -> tuple[Tensor, Tensor, Tensor]:
        subjects, styles = pairs[order(step)].unbind(1)
        shown = shelf.latents[subjects], shelf.there[subjects], styles
        return cast(tuple[Tensor, Tensor, Tensor], tuple(send(x, device) for x in shown))

    groups = muon_groups(model, lr=0.01, adam_lr=1e-3, edges=["net.conv_in", "net.conv_out", "net.time_embedding"])
    run = by_muon(model, imputing, batches, groups, steps=args.steps, decay=args.steps // 3, average=0.99)

    judged = judge(args.data, shelf)
    drive(run, args.runs / "missing", args.steps, evaluate=lambda: judged(averaged(run, Imputer)), evaluate_every=200)
    best = averaged(run, Imputer)
    missing = shelf.pairs(False)
    lines = shelf.said(missing)
    latents = (imputed(best, shelf, missing) + worded(args.data, lines)) / 2
    more, colours = recoloured(lines, latents, VAECodec(autoencoder(args.runs).to(device)))
    np.save(args.data / PICTURES, torch.cat([latents.half(), colours]).numpy())
    (args.data / LINES).write_text(json.dumps([*lines, *more], ensure_ascii=False), encoding="utf-8")
    others = torch.full((len(shelf.at), *latents.shape[1:]), torch.nan)
    told = (shelf.there.sum(1) > 1)[shelf.at[:, 0]]
    others[told] = imputed(best, shelf, shelf.at[told])
    np.save(args.data / OTHERS, others.half().numpy())
    print(f"{len(lines)} pairs drawn that are missing, of {shelf.there.numel()}, and {len(more)} in other colours")


def judge(data: Path, shelf: Shelf) -> Callable[[Imputer], dict[str, float]]:
    """Says of an imputer which part of the held-out pictures' variance stays open: by other styles, words and both."""
    rows = [row for row in ledger(data, ("singles",), "heldout_pair") if row["subject"] in shelf.lines]
    latents = np.load(data / "latents-singles.npy", mmap_mode="r")
    truth = torch.from_numpy(latents[[row["index"] for row in rows]]).float()
    pairs = torch.tensor([(shelf.subjects.index(row["subject"]), shelf.styles.index(row["style"])) for row in rows])
    said = worded(data, rows)

    def judged(model: Imputer) -> dict[str, float]:
        seen = imputed(model, shelf, pairs)
        found = {"styles": seen, "words": said, "both": (seen + said) / 2}
        each = {name: float((x - truth).square().mean() / truth.var()) for name, x in found.items()}
        print(", ".join(f"{name} {value:.4f}" for name, value in each.items()), flush=True)
        return each

    return judged


if __name__ == "__main__":
    main()
