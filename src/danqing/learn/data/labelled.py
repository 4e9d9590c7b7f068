"""Pictures of one size in memory, each with the class that it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...noise import keyed
from .order import Order


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pictures and their classes.

    Args:
        pictures: (N, 3, S, S) of bytes.
        labels: (N,), int64, into ``names``.
        names: of the classes, sorted.
    """

    pictures: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def batches(self, batch: int, seed: int | str, *, mirror: bool = False) -> Callable[[int], tuple[Tensor, Tensor]]:
        """step -> (bytes (B, 3, S, S), labels (B,)), each picture once an epoch; ``mirror`` turns half of them left to
        right."""
        order = Order(len(self.pictures), batch, seed)

        def at(step: int) -> tuple[Tensor, Tensor]:
            items = order(step)
            pictures = self.pictures[items]
            if mirror:
                turned = torch.rand(batch, generator=keyed(seed, "mirror", step)) < 0.5
                pictures = torch.where(turned[:, None, None, None], pictures.flip(-1), pictures)
            return pictures, self.labels[items]

        return at
