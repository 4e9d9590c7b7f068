"""The part of the latents' variance that a painter leaves open, |x_0 - E[x_0 | x_t, text]|² / Var x_0.

At pure noise it is what its words do not say to it, and at less noise how well it sees through the noise.

It is measured on single pictures with their canonical captions, of (subject, style) pairs that were trained on and of
held-out ones, in both languages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danqing.errors import InvalidFile
from danqing.noise import keyed
from danqing.prompt.tokenize import Tokenizer
from experiments.art import ledger
from experiments.captions import LANGUAGES, canonical
from experiments.clip import encode_texts

#: Of flows, alpha = 1 - sigma: pure noise, where words decide, down to where details are made.
SIGMAS = (1.0, 0.88, 0.71, 0.5, 0.25)
SPLITS = {"trained": "train", "heldout": "heldout_pair"}

#: (x_t (B, C, H, W), sigma (B,), token ids (B, L)) -> E[x_0 | x_t, text].
Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Pairs:
    """Latents x0 (N, C, H, W) and, by language, the token ids (N, L) of their captions."""

    x0: Tensor
    ids: Mapping[str, Tensor]


def pairs(data: Path, tokenizer: Tokenizer, count: int = 128) -> dict[str, Pairs]:
    """Of each split ``count`` pictures, the same ones at every call.

    Raises:
        InvalidFile: the latents are missing.
    """
    path = data / "latents-singles.npy"
    if not path.exists():
        raise InvalidFile(f"{path} is missing: run `python -m experiments.latents`")
    latents, found = np.load(path, mmap_mode="r"), {}
    for name, split in SPLITS.items():
        rows = ledger(data, ("singles",), split)
        chosen = np.random.default_rng(0).choice(len(rows), min(count, len(rows)), replace=False)
        rows = [rows[i] for i in chosen]
        ids = {lang: encode_texts(tokenizer, [canonical(row, lang) for row in rows]) for lang in LANGUAGES}
        found[name] = Pairs(torch.from_numpy(latents[[row["index"] for row in rows]]).float(), ids)
    return found


@torch.inference_mode()
def open_variance(
    estimate: Estimate, measured: Mapping[str, Pairs], sigmas: Sequence[float] = SIGMAS, batch: int = 64
) -> dict[str, float]:
    """By "split/sigma/language" the variance left open; the noise is the same at every call."""
    said = {}
    for name, some in measured.items():
        for sigma in sigmas:
            eps = torch.randn(some.x0.shape, generator=keyed("open variance", name, str(sigma)))
            x, times = (1 - sigma) * some.x0 + sigma * eps, torch.full((len(eps),), sigma)
            for lang, ids in some.ids.items():
                parts = zip(x.split(batch), times.split(batch), ids.split(batch), strict=True)
                x0 = torch.cat([estimate(*part) for part in parts])
                said[f"{name}/{sigma}/{lang}"] = float((x0 - some.x0).square().mean() / some.x0.var())
    return said


def table(said: Mapping[str, float]) -> str:
    """One line a split: of each sigma the variance left open, [en, zh]."""
    lines = []
    for name in SPLITS:
        each = {key: value for key, value in said.items() if key.startswith(f"{name}/")}
        by_sigma = dict.fromkeys(key.split("/")[1] for key in each)
        told = (f"{s}: " + " ".join(f"{v:.4f}" for k, v in each.items() if k.split("/")[1] == s) for s in by_sigma)
        lines.append(f"  {name:8} " + "   ".join(told))
    return "\n".join(lines)
