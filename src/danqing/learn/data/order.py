"""Which pictures a step sees, as a pure function of (seed, step): resuming needs no saved state of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def number(*key: int | str) -> int:
    """A number in [0, 2^63) that depends on the key alone."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed(*key: int | str) -> torch.Generator:
    """A CPU generator that depends on the key alone: equal keys draw equal numbers, whatever was drawn before."""
    return torch.Generator().manual_seed(number(*key))


@contextmanager
def globally(device: torch.device, *key: int | str) -> Iterator[None]:
    """Inside, torch's global generators of the CPU and of ``device`` depend on the key alone, for layers that draw from
    them, as dropout does; after it they go on from where they were."""
    apart = device.type in ("cuda", "xpu")  # MPS has one device, whose generator torch keeps no states of by device
    with torch.random.fork_rng([device] if apart else [], device_type=device.type if apart else "cuda"):
        torch.manual_seed(number(*key))
        yield


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


def to_unit(picture: np.ndarray) -> Tensor:
    """Pictures (B, H, W, 3) of bytes as a tensor (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(picture, order="C")).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1.0)
