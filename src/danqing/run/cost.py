"""What a computation takes, memory and products, counted while it runs: on the meta device, where no number is, in the
time of asking for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


class Cost(NamedTuple):
    """What a computation takes.

    Args:
        peak: bytes of all that it made and that was there at once, at most; what was there before does not count, nor
            what an operation needs inside.
        flops: of its matrix products, convolutions and attention, a multiplication and an addition being two.
        scores: bytes of the largest matrix of attention scores, which `peak` holds where they were said to be made.
    """

    peak: int = 0
    flops: int = 0
    scores: int = 0


class Counter(TorchDispatchMode):
    """Counts what is computed within its context.

    Each new storage is live until nobody refers to it any more:

        peak = max over operations of sum of live bytes,      live = made, and not yet let go

    Products are counted by the formulas of `torch.utils.flop_counter`.

    Args:
        fused: attention is computed without its scores in memory; otherwise they and their softmax are.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and to load the compiler takes a second

    def __init__(self, fused: bool = True):
        super().__init__()
        self.fused = fused
        # References that hold a storage's place: as long as they are there no other has its address.
        self._known, self._live = set[StorageWeakRef](), dict[StorageWeakRef, int]()
        self._now, self._cost = 0, Cost()

    @property
    def cost(self) -> Cost:
        """What it came to so far."""
        return self._cost

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        self._known |= {ref for ref in map(_storage, _tensors((args, given))) if ref not in self._live}
        if func is ATTENTION:
            return self._attention(*args, **given)
        if func not in (torch.ops.aten.is_contiguous.memory_format, torch.ops.aten.lift_fresh.default):
            with self:
                found = func.decompose(*args, **given)
            if found is not NotImplemented:
                return found
        out = func(*args, **given)
        formula = cast(Any, flop_registry.get(func._overloadpacket))
        self._made(out, 0 if formula is None else formula(*args, **given, out_val=out))
        return out

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """softmax(q kᵀ) v, q (..., N, d), k (..., M, d): 2 N M d products twice; N M scores."""
        scores = (*q.shape[:-1], k.shape[-2])
        if not self.fused:
            parts = [q.new_empty(scores) for _ in range(2)]
            self._made(parts)
            del parts
        out = q.new_empty(*q.shape[:-1], v.shape[-1]) if q.is_meta else ATTENTION(q, k, v, *args, **kwargs)
        self._made(out, 2 * prod(scores) * (q.shape[-1] + v.shape[-1]))
        self._cost = self._cost._replace(scores=max(self._cost.scores, prod(scores) * q.element_size()))
        return out

    def _made(self, out: Any, flops: int = 0) -> None:
        """Count what an operation gave; what nobody refers to any more was let go before."""
        for gone in [one for one in self._live if one.expired()]:
            self._now -= self._live.pop(gone)
        for tensor in _tensors(out):
            if (ref := _storage(tensor)) not in self._live and ref not in self._known:
                self._live[ref] = tensor.untyped_storage().nbytes()
                self._now += self._live[ref]
        self._cost = self._cost._replace(peak=max(self._cost.peak, self._now), flops=self._cost.flops + flops)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())


def counted(work: Callable[[], Any], fused: bool = True) -> tuple[Any, Cost]:
    """What a function gives, and what it took; see `Counter`."""
    with torch.inference_mode(), Counter(fused) as counter:
        return work(), counter.cost
