"""A drawn portrait drawn anew: the network by which the adapter of portraits drafts what words make of a given one.

    python -m experiments.identity mix
    python -m experiments.identity redraw

It is shown the latent of one drawing of a person and the summary of words for what another has that this one has not,
and says the latent of that other one, in the mean of squares: what it cannot know of it is blurred, and all that is the
person's stands in the one that it is shown. Besides the two drawings that differ in all that is free there is a third,
which has some of either, so that what no word names stays as it is; and each is also to become itself.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danqing.codec import VAECodec
from danqing.learn.training.optim import muon_groups
from danqing.nets.redrawn import Redrawn
from danqing.noise import keyed
from danqing.teach.usual import averaged, by_muon
from danqing.weights import store
from experiments import people
from experiments.captions import LANGUAGES, caption
from experiments.common import fast, quick
from experiments.contrast import CPU
from experiments.latents import autoencoder, encoded
from experiments.people import BARE, FREE

#: The network's widths, and the file of what was learned.
WIDTHS, FILE = (64, 64, 96), "redrawn.safetensors"
#: How many drawings of each person there are, how often what is asked for is drawn, and by which seed.
DRAWINGS, SAID, SEED = 3, 2, 103
#: How many people nothing is learned from here, by whom it is seen how far what is drawn is from what is meant.
KEPT = 200
BATCH = 96


def mix(home: Path) -> None:
    """Draw everyone a third time: mixed.json and mixed-latents.npy."""
    lines, draw = json.loads((home / "train.json").read_text(encoding="utf-8")), random.Random(SEED)
    third = [people.mixed(one, other, draw) for one, other in zip(*lines, strict=True)]
    (home / "mixed.json").write_text(json.dumps(third), encoding="utf-8")
    latents = encoded(VAECodec(autoencoder(Path("nowhere"))), people.pictures(third))
    np.save(home / "mixed-latents.npy", latents)


def asked(shown: Mapping[str, Any], meant: Mapping[str, Any], draw: random.Random) -> str:
    """What is asked for beside a drawing so that it becomes another one: in a quarter of the cases the whole caption,
    else of what is free all that differs, and half of what does not; of these a caption says four fifths."""
    lang, have, want = draw.choice(LANGUAGES), shown["attributes"], meant["attributes"]
    if draw.random() < 0.25:
        return caption(meant, draw, lang)
    free = [name for name in FREE if name in want and (want[name] != have.get(name) or draw.random() < 0.5)]
    text = draw.choice(BARE[lang])
    if free:
        said = {name: words for name, words in want.items() if name in ("person", *free)}
        text = caption({**meant, "attributes": said, "style": ""}, draw, lang)
    usual = ", 3d style" if lang == "en" else "，3D风格"
    return text + usual * (draw.random() < 1 / 3)


@dataclass(frozen=True)
class Pairs:
    """Drawings of people, (N, DRAWINGS, C, H, W), and the summaries of what is asked for when one, the first index, is
    to become another, (N, DRAWINGS, DRAWINGS, SAID, P)."""

    latents: Tensor
    said: Tensor

    @classmethod
    def of(cls, home: Path) -> Pairs:
        """Those that were drawn."""
        third = torch.from_numpy(np.load(home / "mixed-latents.npy"))[:, None]
        latents = torch.cat([torch.from_numpy(np.load(home / "train-latents.npy")), third], 1)
        return cls(latents, _said(home))

    def some(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents that are shown, what is asked for, and latents that are meant; one in nine is to become itself."""
        draw = keyed("identity", "redraw", step)
        who = torch.randperm(len(self.latents) - KEPT, generator=draw)[:BATCH]
        shown = torch.randint(DRAWINGS, (len(who),), generator=draw)
        away = torch.where(
            torch.rand(len(who), generator=draw) < 1 / 9, 0, 1 + torch.randint(2, shown.shape, generator=draw)
        )
        meant, words = (shown + away) % DRAWINGS, torch.randint(SAID, shown.shape, generator=draw)
        return (
            self.latents[who, shown].float(),
            self.said[who, shown, meant, words].float(),
            self.latents[who, meant].float(),
        )

    def kept(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same of people who are kept apart: one that differs in all that is free, and what was asked for first."""
        latents, said = self.latents[-KEPT:].float(), self.said[-KEPT:].float()
        return latents[:, 0], said[:, 0, 1, 0], latents[:, 1]


def _said(home: Path) -> Tensor:
    kept = home / "asked.safetensors"
    if not kept.is_file():
        from experiments.portrait import Texts

        lines = json.loads((home / "train.json").read_text(encoding="utf-8"))
        every = list(zip(*lines, json.loads((home / "mixed.json").read_text(encoding="utf-8")), strict=True))
        draw, texts = random.Random(2), Texts()
        words = [
            asked(drawn[i], drawn[j], draw)
            for drawn in every
            for i in range(DRAWINGS)
            for j in range(DRAWINGS)
            for _ in range(SAID)
        ]
        order = sorted(range(len(words)), key=lambda i: len(words[i]))
        with fast(CPU):
            parts = [texts([words[i] for i in order[k : k + 256]]).pooled for k in range(0, len(order), 256)]
        found = torch.cat([part for part in parts if part is not None])
        said = torch.empty_like(found, dtype=torch.float16)
        said[torch.tensor(order)] = found.half()
        store.write(kept, {"said": said.unflatten(0, (-1, DRAWINGS, DRAWINGS, SAID)).contiguous()})
    return store.read(kept)["said"]


def redrawing(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
    """Mean squared error of (latents that are shown, summaries, latents that are meant)."""
    shown, said, meant = batch
    return {"loss": (model(shown, said).float() - meant).square().mean()}


def redraw(home: Path, steps: int) -> None:
    """So many steps, from what was learned before where that lies there; what is learned is redrawn.safetensors."""
    torch.manual_seed(0)
    pairs = Pairs.of(home)
    model = Redrawn(pairs.latents.shape[2], pairs.said.shape[-1], WIDTHS)
    if (home / FILE).is_file():
        model.load_state_dict(store.read(home / FILE))
    quick(model.net, CPU)
    edges = ["net.conv_in", "net.conv_out", "net.time_embedding", "net.class_embedding"]
    groups = muon_groups(model, lr=0.01, adam_lr=1e-3, edges=edges)
    run = by_muon(model, redrawing, pairs.some, groups, steps=steps, decay=steps // 2, average=0.99)
    for done in run.run(steps):
        if done.step % 50 == 0 or done.step == steps:
            best = averaged(run, Redrawn)
            shown, said, meant = pairs.kept()
            with torch.inference_mode():
                away = (best(shown, said) - meant).square().mean()
            copied = (shown - meant).square().mean()
            print(
                f"redraw {done.step}/{steps}: {done.losses['loss']:.4f}, kept apart {away:.4f} of {copied:.4f}",
                flush=True,
            )
            store.write(home / FILE, averaged(run, Redrawn).state_dict())
