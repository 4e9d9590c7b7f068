"""Which pictures a step sees, as a pure function of (seed, step): resuming needs no saved state of the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...noise import keyed


class Order:
    """An endless order over ``count`` items: each epoch is a fresh permutation, keyed by (seed, epoch).

    Args:
        count: how many items there are, at least 1.
        batch: how many a step takes; a batch may span two epochs, so every item is seen once an epoch exactly.
        seed: another seed, another order.
    """

    def __init__(self, count: int, batch: int, seed: int | str):
        if count < 1 or batch < 1:
            raise ValueError(f"an order needs at least one item and one place in the batch, got {count=}, {batch=}")
        self.count, self.batch, self.seed = count, batch, seed
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.long)

    def _at(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            self._permutation = torch.randperm(self.count, generator=keyed(self.seed, "epoch", epoch))
            self._epoch = epoch
        return self._permutation

    def __call__(self, step: int) -> Tensor:
        """The items of this step, (batch,), int64 in [0, count)."""
        parts, first, left = [], step * self.batch, self.batch
        while left:
            epoch, place = divmod(first, self.count)
            take = min(left, self.count - place)
            parts.append(self._at(epoch)[place : place + take])
            first, left = first + take, left - take
        return torch.cat(parts)


class Mixture:
    """Several orders in fixed proportions: each step takes a fixed number of items from each source.

    Args:
        counts: the size of each source.
        shares: the part of the batch that each source gets; rounded, the first source takes what is left.
    """

    def __init__(self, counts: Sequence[int], shares: Sequence[float], batch: int, seed: int | str):
        takes = [round(batch * share / sum(shares)) for share in shares]
        takes[0] += batch - sum(takes)
        self.orders = [Order(n, take, f"{seed}/{i}") for i, (n, take) in enumerate(zip(counts, takes, strict=True))]

    def __call__(self, step: int) -> list[Tensor]:
        """One tensor of items a source, in the order of the sources."""
        return [order(step) for order in self.orders]
