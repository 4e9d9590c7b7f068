"""An encoder of many windows in little memory: some at a time, equal ones once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InvalidInput
from .encode import Encoder


@dataclass(frozen=True)
class Batched:
    """An `Encoder` that asks another for ``size`` windows at a time, and for equal ones only once.

    Up to ``size`` windows pass through as they are. Of more it holds what one batch needs and the result, (B, window,
    D), never the states of every layer for all of them.

    Args:
        inner: which encodes each window by itself.
        size: windows at a time, >= 1.

    Raises:
        InvalidInput: a size below 1.
    """

    inner: Encoder
    size: int = 16

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInput(f"{self.size} windows at a time encode nothing: give 1 or more")

    def embed(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids (B, window), on the CPU, to tokens (B, window, D) and a summary (B, P) or None."""
        if len(ids) <= self.size:
            return self.inner.embed(ids)
        # the empty windows that fill up a short prompt beside a long one are all the same
        distinct, place = ids.unique(dim=0, return_inverse=True)  # (U, window), (B,)
        tokens, summary = self.inner.embed(distinct[: self.size])
        outs = [None if part is None else part.new_empty(len(ids), *part.shape[1:]) for part in (tokens, summary)]
        for start in range(0, len(distinct), self.size):
            parts = (tokens, summary) if start == 0 else self.inner.embed(distinct[start : start + self.size])
            (here,) = torch.where((place >= start) & (place < start + self.size))
            for out, part in zip(outs, parts, strict=True):
                if out is not None and part is not None:
                    out[here.to(out.device)] = part[(place[here] - start).to(part.device)]
        every, summaries = outs
        assert every is not None
        return every, summaries
