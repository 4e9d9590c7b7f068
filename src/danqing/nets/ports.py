"""What a backbone shows to adapters. Six ports, each with a neutral element, so that no network asks which adapter is
on.

1. ``Residuals`` are added to the skips (ControlNet); empty by default. A `Denoiser` passes the sum of those of its
   ``controls``.
2. A stage is an ``nn.ModuleList`` of layers ``layer(x, ctx) -> x``, so a layer can be inserted (AnimateDiff).
3. A cross-attention owns ``branches``, an empty ``nn.ModuleDict``; each ``branch(q, ctx)`` adds its own term
   (IP-Adapter).
4. Any ``nn.Linear`` or ``nn.Conv2d`` can be replaced by name (LoRA).
5. ``body(x, ctx, residuals)`` is all between what is read and the last norm; an instance may be given another, which
   runs the same layers otherwise (`deep`).
6. A network that drafts owns ``shares``, an empty ``nn.ModuleDict``; each ``share(extra)`` says what pictures have of
   the draft, none where ``extra`` holds nothing of its name (`drafted`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidInput

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every layer of a backbone sees during one call.

    Args:
        time: the embedding of time (and pooled conditioning), (B, E).
        tokens: the text stream, (B, L, D), or None for a network without one.
        extra: tensors that an adapter wrote under its own name and alone reads: a conditioning's ``extra``, and its
            ``maps`` as far as the picture is seen (a tile's part in a tile).
    """

    time: Tensor
    tokens: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=lambda: NOTHING)

    @property
    def activated(self) -> Tensor:
        """SiLU of ``time``, which every residual block projects, (B, E). It is not kept: a block that is computed again
        for its gradients has to find what it found before."""
        return F.silu(self.time)


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Port 1: terms added to a backbone's skips. ``down[i]`` matches the i-th skip, ``mid`` the middle; empty adds
    nothing."""

    down: tuple[Tensor, ...] = ()
    mid: Tensor | None = None

    def __add__(self, other: Residuals) -> Residuals:
        """Skip by skip; the empty ones are neutral.

        Raises:
            InvalidInput: they are for other numbers of skips.
        """
        if self.down and other.down and len(self.down) != len(other.down):
            counts = f"residuals for {len(self.down)} and for {len(other.down)} skips"
            raise InvalidInput(f"{counts} cannot be added: controls of one network give one for each of its skips")
        down = tuple(map(add, self.down, other.down)) or self.down or other.down
        mids = [mid for mid in (self.mid, other.mid) if mid is not None]
        return Residuals(down=down, mid=reduce(add, mids) if mids else None)

    def __mul__(self, weight: float) -> Residuals:
        """Each so many times; 1 is neutral."""
        return self if weight == 1 else self.map(lambda one: one * weight)

    def map(self, change: Callable[[Tensor], Tensor]) -> Residuals:
        """Each changed, the middle's last."""
        down = tuple(map(change, self.down))
        return Residuals(down=down, mid=None if self.mid is None else change(self.mid))


NO_RESIDUALS = Residuals()
