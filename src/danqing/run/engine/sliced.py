"""Attention a few queries at a time, for devices without a fused kernel: those hold every score at once, N · M of each
head, which at 1024 pixels are gigabytes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ...nets.operations import Attend
from .engines import Engine

#: Bytes of scores that are made at once, at most, where a query's own are no more.
SCORES = 256 << 20


class SlicedAttend(Attend):
    """The same softmax, whose rows know nothing of each other: y_i = softmax(scale q_i kᵀ + mask_i) v."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        """See `Attend.forward`; the queries are parted where their scores would be more than `SCORES`."""
        queries = q.shape[-2]
        one = q.shape[:-2].numel() * k.shape[-2] * q.element_size()
        rows = max(1, SCORES // max(1, one))
        if rows >= queries:
            return super().forward(q, k, v, mask, scale)
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        for begin in range(0, queries, rows):
            part = slice(begin, begin + rows)
            seen = mask if mask is None or mask.shape[-2] == 1 else mask[..., part, :]
            out[..., part, :] = super().forward(q[..., part, :], k, v, seen, scale)
        return out


def attach(net: nn.Module) -> Callable[[], None]:
    """Part the attention of a network; what is returned makes it what it was."""
    layers = [layer for layer in net.modules() if type(layer) is Attend]
    for layer in layers:
        layer.__class__ = SlicedAttend

    def detach() -> None:
        for layer in layers:
            layer.__class__ = Attend

    return detach


SLICED = Engine(
    attach=attach,
    does="PyTorch, attention a few queries at a time where its scores would take more than 256 MB.",
)
