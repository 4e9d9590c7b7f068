"""The text does not change while a picture is sampled: make its keys and values once, not once a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.unet import CrossAttention


class Memory:
    """The tokens of the latest call and what was projected from them.

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


class Remembered(nn.Module):
    """A projection of the text that answers from memory, where it can and no gradient is wanted."""

    def __init__(self, inner: nn.Module, memory: Memory):
        super().__init__()
        self.inner = inner
        self.memory = memory

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, C). Tokens that are not the call's own (an adapter's) are projected as ever."""
        if torch.is_grad_enabled() or tokens is not self.memory.current:
            return self.inner(tokens)
        if self.inner not in self.memory.values:
            self.memory.values[self.inner] = self.inner(tokens)
        return self.memory.values[self.inner]


@contextmanager
def cached_text(net: nn.Module) -> Iterator[nn.Module]:
    """Within the context, ``net`` projects an unchanged text once, and every output stays what it was, bit for bit.

    It replaces ``to_k`` and ``to_v`` of every `CrossAttention` by name and puts them back at the end. Attach adapters
    and load weights before: neither may change inside.

    Args:
        net: a backbone called as ``net(x, time, tokens, …)``. With gradients enabled it computes as ever.
    """
    memory = Memory()

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        memory.see(args[2] if len(args) > 2 else kwargs["tokens"])

    handle = net.register_forward_pre_hook(look, with_kwargs=True)
    layers = [
        (layer, name) for layer in net.modules() if isinstance(layer, CrossAttention) for name in ("to_k", "to_v")
    ]
    originals = [getattr(layer, name) for layer, name in layers]
    for (layer, name), original in zip(layers, originals, strict=True):
        setattr(layer, name, Remembered(original, memory))
    try:
        yield net
    finally:
        handle.remove()
        for (layer, name), original in zip(layers, originals, strict=True):
            setattr(layer, name, original)
