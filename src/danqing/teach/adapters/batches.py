"""What a step of an adapter's training sees: latents that are computed once, of pictures of one size, and what they
show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...learn.data.buckets import Buckets
from ...levels import from_arrays
from ...noise import keyed
from ...run.device import send
from .captioned import Captioned
from .frozen import Frozen

#: A picture of the folder, by its place there, and whether it is mirrored left to right.
Item = tuple[int, bool]
#: How many pictures are encoded at a time.
ENCODED = 16


class Batch(NamedTuple):
    """What a step sees.

    Args:
        x0: latents (B, C, h, w), on the device.
        texts: what each shows; "" where it is not told.
        items: which pictures they are.
        prior: latents (B, C, h, w) that the model painted before, or None.
    """

    x0: Tensor
    texts: list[str]
    items: list[Item]
    prior: Tensor | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """index -> `Batch`, a pure function of (seed, index).

    Args:
        own: the pictures and their captions.
        frozen: the model whose codec encodes them.
        prior: latents (N, C, h, w) of what it painted before, or None.
        batch: pictures a step.
        unsaid: the share of captions that are left out.
        mirror: show half of the pictures mirrored.
        seed: of all that is drawn.
    """

    own: Captioned
    frozen: Frozen
    prior: Tensor | None
    batch: int
    unsaid: float
    mirror: bool
    seed: int

    @cached_property
    def order(self) -> Buckets:
        """Which pictures a step sees."""
        return Buckets([picture.shape for picture in self.own.pictures], self.batch, f"{self.seed}/order")

    @cached_property
    def latents(self) -> dict[Item, Tensor]:
        """The latent (C, h, w) of each picture, and where pictures are mirrored of each mirrored one."""
        turns = (False, True) if self.mirror else (False,)
        found = dict[Item, Tensor]()
        for group in self.order.groups:
            items = [(i, turned) for i in group for turned in turns]
            for first in range(0, len(items), ENCODED):
                some = items[first : first + ENCODED]
                found |= zip(some, self.frozen.latents(from_arrays(self._pictures(some))), strict=True)
        return found

    def _pictures(self, items: Sequence[Item]) -> np.ndarray:
        return np.stack([self.own.pictures[i][:, :: -1 if turned else 1] for i, turned in items])

    def __call__(self, index: int) -> Batch:
        draw, where, places = keyed(self.seed, "own", index), self.frozen.where, self.order(index)
        turned, told = (torch.rand(len(places), generator=draw).tolist() for _ in range(2))
        items = [(i, self.mirror and turn < 0.5) for i, turn in zip(places, turned, strict=True)]
        texts = [self.own.captions[i] if t >= self.unsaid else "" for i, t in zip(places, told, strict=True)]
        prior = self.prior
        if prior is not None:
            prior = send(prior[torch.randint(len(prior), (len(items),), generator=draw)], where)
        return Batch(send(torch.stack([self.latents[item] for item in items]), where), texts, items, prior)
