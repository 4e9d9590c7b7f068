"""What other pictures of a subject say of it, in the trainings of the painter and of its draft.

`experiments.missing` draws a subject in a style by its pictures in the other styles. A draft (`Completed`) learns those
of the pairs that have no picture beside the pictures that there are. A painter (`Told`) is now and then given one for a
draft: of what it was trained on a draft knows far more than of anything else, and a painter that was shown such drafts
alone trusts the others too much. It has to see drafts as they are of what was not learned (stacked generalisation:
Wolpert 1992).
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danqing.nets.drafted import Share
from danqing.noise import number
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.run.device import send
from experiments.captioned import Batches, Placed, PlacedBatches
from experiments.captions import LANGUAGES, caption
from experiments.epochs import VARIANTS, Texts
from experiments.missing import LINES, OTHERS, PICTURES

DRAWN = 5  # captions of a missing pair in a language
SHARE = 0.25  # of what a draft is trained on
TOLD = 0.5  # of the single pictures that a painter is trained on


class Completed:
    """step -> (latents, token ids), of ``batches``, and of missing pairs so many that they are ``share`` of all."""

    def __init__(self, batches: Batches, data: Path, share: float = SHARE):
        self.batches, self.share = batches, share
        self.settings = {**batches.settings, "missing": hashlib.sha256((data / PICTURES).read_bytes()).hexdigest()}
        self.latents = torch.from_numpy(np.load(data / PICTURES))
        lines, draw = json.loads((data / LINES).read_text(encoding="utf-8")), random.Random("missing")
        tokenizer = bilingual_tokenizer(data / "tokenizer.json")
        self.pad, self.captions = tokenizer.pad, len(LANGUAGES) * DRAWN
        said = [caption(line, draw, lang) for line in lines for lang in LANGUAGES for _ in range(DRAWN)]
        ids = tokenizer.bpe.encode_batch_fast(said, add_special_tokens=False)
        self.texts = Texts.of(tokenizer, [one.ids for one in ids])

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        x0, ids = self.batches(step)
        draw = np.random.default_rng(number("missing", step))
        which = draw.integers(len(self.latents), size=round(len(x0) * self.share / (1 - self.share)))
        more = torch.from_numpy(
            self.texts.rows(which * self.captions + draw.integers(self.captions, size=len(which)), self.pad)
        )
        length = max(ids.shape[1], more.shape[1])
        both = [F.pad(each, (0, length - each.shape[1]), value=self.pad) for each in (ids, send(more, ids.device))]
        return torch.cat([x0, send(self.latents[which].float(), x0.device)]), torch.cat(both)


class Told:
    """step -> (latents, token ids, what is placed, a share of the draft), of ``batches``: so many of the single
    pictures are drafted by the subject's others in place of their words. None are where that was never said.

    Args:
        share: how many.
    """

    def __init__(self, batches: PlacedBatches, data: Path, share: float = TOLD):
        self.batches, self.share, self.settings = batches, share, dict(batches.batches.settings)
        self.others = torch.empty(0, *batches.batches.latents["singles"].shape[1:])
        if (data / OTHERS).exists():
            self.settings["others"] = hashlib.sha256((data / OTHERS).read_bytes()).hexdigest()
            self.others = torch.from_numpy(np.load(data / OTHERS))
        self.known = self.others.flatten(1).isfinite().all(1).numpy()

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Placed, Share]:
        batches = self.batches.batches
        x0, texts = batches.chosen(step)
        each = (texts - batches.first["singles"]) // (len(LANGUAGES) * VARIANTS["singles"])
        draw = np.random.default_rng(number(batches.seed, "others", step))
        told = (texts > 0) & (draw.random(len(each)) < self.share) & (each < len(self.others))
        told[told] &= self.known[each[told]]
        picture, weight = torch.zeros_like(x0), torch.zeros_like(x0[:, :1])
        where = torch.from_numpy(told).to(x0.device)
        picture[where] = send(self.others[each[told]].float(), x0.device)
        weight[where] = 1
        return x0, *self.batches.said(step, texts), Share(weight, picture)


def completed(batches: Batches, data: Path) -> Batches | Completed:
    """The batches with missing pairs among them, where those were drawn."""
    return Completed(batches, data) if (data / PICTURES).exists() else batches
