"""What the painter and its draft are trained on: latents, and beside each the token ids of a caption, by step.

    batches = Batches(Epochs(data=DATA), batch=128, device=device)
    x0, ids = batches(step)          latents (B, 8, 16, 16) fp32, token ids (B, L) cut to the longest of the batch

A pure function of the step, and no Python by sample: captions are drawn and tokenised an epoch ahead
(`experiments.epochs`), latents lie in memory, on the device where that is a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from danqing.errors import InvalidFile
from danqing.learn.data.order import Mixture
from danqing.noise import number
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.run.device import send
from experiments.epochs import LANGUAGES, VARIANTS, Epochs, Scenes, Texts, by_source, fingerprint

#: The part of a batch that each source gets.
SHARES = {"singles": 0.45, "recoloured": 0.17, "composites": 0.30, "portraits": 0.08}
CHINESE = 0.5  # of the captions
DROPOUT = 0.1  # of the captions are empty, for classifier-free guidance


class Batches:
    """step -> (latents (B, 8, 16, 16), token ids (B, L)); an index is a batch, as a `Training` counts.

    Args:
        epochs: what there is to be seen, and when.
        batch: how many pictures.
        device: where the batches are wanted; on a GPU all latents are kept there.
        shares, chinese, dropout: see above; sources without a share or without pictures are not read.
        seed: another seed, another order.
        multiple: L is rounded up to a multiple of it, for compiled graphs of few shapes.
        settings: of the training, which its checkpoint keeps: the hashes of the ledger and of the tokenizer.

    Raises:
        InvalidFile: no latents: `python -m experiments.latents` writes them.
    """

    def __init__(
        self,
        epochs: Epochs,
        batch: int,
        device: torch.device,
        *,
        shares: Mapping[str, float] = SHARES,
        chinese: float = CHINESE,
        dropout: float = DROPOUT,
        seed: int | str = "painter",
        multiple: int = 1,
    ):
        self.epochs, self.batch, self.device, self.seed, self.multiple = epochs, batch, device, seed, multiple
        self.chinese, self.dropout = chinese, dropout
        self.settings = fingerprint(epochs.data)
        self.pad = bilingual_tokenizer(epochs.data / "tokenizer.json").pad
        rows = by_source(epochs.data)
        counts = {name: epochs.count if name == "composites" else len(rows[name]) for name in VARIANTS}
        self.sources = [name for name in VARIANTS if shares.get(name, 0) > 0 and counts[name]]
        self.order = Mixture(
            [counts[name] for name in self.sources], [shares[name] for name in self.sources], batch, seed
        )
        self.latents = {
            name: self._latents(name, [row["index"] for row in rows[name]]) for name in self.sources if rows[name]
        }
        # Text 0 is the empty one; of each source those of an item lie together, by language and then by variant.
        sizes = [counts[name] * len(LANGUAGES) * n for name, n in VARIANTS.items()]
        self.first = dict(zip(VARIANTS, np.cumsum([1, *sizes[:-1]]).tolist(), strict=True))
        self.epoch, self.texts = -1, Texts(np.empty(0, np.uint16), np.zeros(1, np.int64))

    def _latents(self, name: str, indices: list[int]) -> Tensor:
        """The latents of some pictures of a source, on the device."""
        path = self.epochs.data / f"latents-{name}.npy"
        try:
            return torch.from_numpy(np.load(path, mmap_mode="r")[indices]).to(self.device)
        except OSError as error:
            raise InvalidFile(
                f"{path} cannot be read ({error.strerror}): run `python -m experiments.latents`"
            ) from error

    def _enter(self, epoch: int) -> None:
        """Take over what is new in an epoch."""
        if epoch != self.epoch:
            folder = self.epochs(epoch)
            with np.load(folder / "texts.npz") as file:
                self.texts = Texts(file["ids"], file["starts"])
            if "composites" in self.sources:
                self.latents["composites"] = torch.from_numpy(np.load(folder / "composites.npy")).to(self.device)
            self.epoch = epoch

    def chosen(self, step: int) -> tuple[Tensor, np.ndarray]:
        """Latents, and the number of each one's text."""
        self._enter(step * self.batch // self.epochs.samples)
        draw = np.random.default_rng(number(self.seed, "captions", step))
        shown, said = [], []
        for name, items in zip(self.sources, self.order(step), strict=True):
            shown.append(self.latents[name][items.to(self.device)])
            language = (draw.random(len(items)) < self.chinese).astype(np.int64)
            variant = draw.integers(VARIANTS[name], size=len(items))
            said.append(self.first[name] + (items.numpy() * len(LANGUAGES) + language) * VARIANTS[name] + variant)
        which = np.concatenate(said) * (draw.random(self.batch) >= self.dropout)
        return torch.cat(shown).float(), which

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        x0, which = self.chosen(step)
        return x0, self.ids(self.texts, which)

    def ids(self, texts: Texts, which: np.ndarray) -> Tensor:
        """Some of many texts as rows, on the device."""
        return send(torch.from_numpy(texts.rows(which, self.pad, self.multiple)), self.device)


class Placed(NamedTuple):
    """What a batch of pictures shows: token ids of what is said of each thing, (B, K, L), and where it is and how
    large, (B, K, 3); see `danqing.nets.drafted.Scene`."""

    things: Tensor
    places: Tensor


class PlacedBatches:
    """step -> (latents, token ids, what is placed), of `Batches`.

    Of the composites so many are said to show nothing, as a text that places nothing does: ``dropout``."""

    def __init__(self, batches: Batches, dropout: float = 0.2):
        self.batches, self.dropout, self.epoch = batches, dropout, -1

    def _enter(self) -> None:
        if self.epoch != self.batches.epoch:
            self.epoch = self.batches.epoch
            with np.load(self.batches.epochs.folder(self.epoch) / "scenes.npz") as file:
                self.scenes = Scenes(file["places"], Texts(file["ids"], file["starts"]))

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Placed]:
        x0, which = self.batches.chosen(step)
        return x0, *self.said(step, which)

    def said(self, step: int, which: np.ndarray) -> tuple[Tensor, Placed]:
        """The token ids of a step's texts, and what they place."""
        self._enter()
        scene = (which - self.batches.first["composites"]) // VARIANTS["composites"]
        draw = np.random.default_rng(number(self.batches.seed, "scenes", step))
        there = (scene >= 0) & (scene < len(self.scenes.places)) & (draw.random(len(scene)) >= self.dropout)
        scene = np.where(there, scene, 0)
        places = torch.from_numpy(self.scenes.places[scene] * there[:, None, None])
        rows = scene[:, None] * places.shape[1] + np.arange(places.shape[1])
        things = self.batches.ids(self.scenes.things, rows.reshape(-1)).unflatten(0, rows.shape)
        return self.batches.ids(self.batches.texts, which), Placed(things, send(places, self.batches.device))
