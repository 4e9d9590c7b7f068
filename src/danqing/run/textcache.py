"""The text does not change while a picture is sampled: make its keys and values once, not once a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.unet import CrossAttention


class Memory:
    """The tokens of the latest call and what was projected from them: one for each picture that is painted.

    Tokens are compared by value: guidance batches the conditionings anew each step, so the same text arrives in a new
    tensor, and a tensor that is the same object may have been written to.
    """

    def __init__(self) -> None:
        self.seen: Tensor | None = None
        self.current: Tensor | None = None
        self.precision: torch.dtype | None = None
        self.values: dict[nn.Module, Tensor] = {}

    def see(self, tokens: Tensor) -> None:
        """Before each call: forget everything unless the text and the precision are those of the call before."""
        device = tokens.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tokens.dtype
        seen = self.seen
        if (
            seen is None
            or (seen.shape, seen.dtype, seen.device) != (tokens.shape, tokens.dtype, tokens.device)
            or precision != self.precision
            or not torch.equal(seen, tokens)
        ):
            self.values.clear()
            self.seen, self.precision = tokens.detach().clone(), precision
        self.current = tokens


class TextCache:
    """Stands before the projections of a network's text, and answers from ``memory`` where the text is unchanged.

    It replaces ``to_k`` and ``to_v`` of every `CrossAttention` by name; every output stays what it was, bit for bit.
    Whoever shares the network puts a memory of their own in the place of ``memory`` before each call.

    Args:
        net: a backbone called as ``net(x, time, tokens, …)``. With gradients enabled it computes as ever.
    """

    def __init__(self, net: nn.Module):
        self.memory = Memory()
        self._handle = net.register_forward_pre_hook(self._look, with_kwargs=True)
        layers = [layer for layer in net.modules() if isinstance(layer, CrossAttention)]
        self._originals = [(layer, name, getattr(layer, name)) for layer in layers for name in ("to_k", "to_v")]
        for layer, name, original in self._originals:
            setattr(layer, name, Remembered(original, self))

    def _look(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.memory.see(args[2] if len(args) > 2 else kwargs["tokens"])

    def remove(self) -> None:
        """Put every projection back."""
        self._handle.remove()
        for layer, name, original in self._originals:
            setattr(layer, name, original)


class Remembered(nn.Module):
    """A projection of the text that answers from memory, where it can and no gradient is wanted."""

    def __init__(self, inner: nn.Module, cache: TextCache):
        super().__init__()
        self.inner = inner
        self.cache = cache

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, C). Tokens that are not the call's own (an adapter's) are projected as ever."""
        memory = self.cache.memory
        if torch.is_grad_enabled() or tokens is not memory.current:
            return self.inner(tokens)
        if self.inner not in memory.values:
            memory.values[self.inner] = self.inner(tokens)
        return memory.values[self.inner]


@contextmanager
def cached_text(net: nn.Module) -> Iterator[nn.Module]:
    """Within the context, a `TextCache` stands before the projections of ``net``. Attach adapters and load weights
    before: neither may change inside."""
    cache = TextCache(net)
    try:
        yield net
    finally:
        cache.remove()
