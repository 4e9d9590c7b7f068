"""The text does not change while a picture is sampled: make its keys, values and draft once, not once a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.drafted import Draft
from ..nets.ports import NOTHING
from ..nets.unet import CrossAttention


class Memory:
    """The text of the latest call, its tokens, its summary and those of the things that it places, and what was
    projected from each: one memory for each picture that is painted.

    Texts are compared by value: guidance batches the conditionings anew each step, so the same text arrives in new
    tensors, and a tensor that is the same object may have been written to.
    """

    def __init__(self) -> None:
        self.seen: tuple[Tensor, ...] = ()
        self.current: tuple[Tensor, ...] = ()
        self.precision: torch.dtype | None = None
        self.values: dict[tuple[nn.Module, int], Tensor] = {}  # by what projected which part

    def see(self, *text: Tensor) -> None:
        """Before each call: forget everything unless the text and the precision are those of the call before."""
        device = text[0].device.type
        mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        precision = torch.get_autocast_dtype(device) if mixed else text[0].dtype
        same = len(text) == len(self.seen) and all(map(_equal, self.seen, text))
        if not same or precision != self.precision:
            self.values.clear()
            self.seen, self.precision = tuple(part.detach().clone() for part in text), precision
        self.current = text


def _equal(a: Tensor, b: Tensor) -> bool:
    return (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device) and torch.equal(a, b)


class TextCache:
    """Stands before the projections of a network's text, and answers from ``memory`` where the text is unchanged.

    It replaces ``to_k`` and ``to_v`` of every `CrossAttention`, and every `Draft`, by name; every output stays what it
    was, bit for bit. Whoever shares the network puts a memory of their own in the place of ``memory`` before each call.

    Args:
        net: a backbone called as ``net(x, time, tokens, …)``. With gradients enabled it computes as ever.
    """

    def __init__(self, net: nn.Module):
        self.memory = Memory()
        self._handle = net.register_forward_pre_hook(self._look, with_kwargs=True)
        modules = list(net.modules())
        places = [(m, name) for m in modules if isinstance(m, CrossAttention) for name in ("to_k", "to_v")]
        places += [(m, name) for m in modules for name, part in m.named_children() if isinstance(part, Draft)]
        for layer, name in places:
            setattr(layer, name, Remembered(getattr(layer, name), self))

    def _look(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        things = kwargs.get("extra", NOTHING).get("things")
        text = (args[2] if len(args) > 2 else kwargs["tokens"], kwargs.get("pooled"), things)
        self.memory.see(*(part for part in text if part is not None))

    def remove(self, net: nn.Module) -> None:
        """Put every projection of the network back."""
        self._handle.remove()
        for layer in list(net.modules()):
            for name, part in list(layer.named_children()):
                if isinstance(part, Remembered) and part.cache is self:
                    setattr(layer, name, part.inner)


class Remembered(nn.Module):
    """A projection of the text, or its draft, that answers from memory, where it can and no gradient is wanted."""

    def __init__(self, inner: nn.Module, cache: TextCache):
        super().__init__()
        self.inner = inner
        self.cache = cache

    def forward(self, text: Tensor) -> Tensor:
        """(B, ..., D) -> what the inner one makes of it. A text that is not the call's own (an adapter's) is projected
        as ever."""
        memory = self.cache.memory
        place = next((place for place, part in enumerate(memory.current) if text is part), None)
        if torch.is_grad_enabled() or place is None:
            return self.inner(text)
        if (self.inner, place) not in memory.values:
            memory.values[self.inner, place] = self.inner(text)
        return memory.values[self.inner, place]


@contextmanager
def cached_text(net: nn.Module) -> Iterator[nn.Module]:
    """Within the context, a `TextCache` stands before the projections of ``net``. Attach adapters and load weights
    before: neither may change inside."""
    cache = TextCache(net)
    try:
        yield net
    finally:
        cache.remove(net)
