"""The records that travel between the axes. Frozen: a new value is a new record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import lcm
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

EMPTY: Mapping[str, Tensor] = MappingProxyType({})


class Denoised(NamedTuple):
    """What a denoiser knows of x_0 at x_t; every tensor (B, C, H, W), and None what it does not know.

    Args:
        x0: E[x_0 | x_t], which a solver follows: guided, where guidance composed it.
        cond: the estimate that guidance leads towards, of several terms of positive weight their weighted mean.
        base: the estimate that guidance leads away from, where it was computed.
        variance: v of `denoise.LearnedVariance`: where, between its two bounds, the log variance of a step back lies.
    """

    x0: Tensor
    cond: Tensor | None = None
    base: Tensor | None = None
    variance: Tensor | None = None

    def map(self, f: Callable[[Tensor], Tensor]) -> Denoised:
        """Apply ``f`` to each estimate of x_0; the variance stays as it is."""
        estimates = (None if value is None else f(value) for value in self[:3])
        return Denoised._make((*estimates, self.variance))


def merge(f: Callable[..., Tensor], *several: Denoised) -> Denoised:
    """``f`` of the several x0, of the several cond, and so on; None where one of them is."""
    fields = zip(*several, strict=True)
    return Denoised._make(None if any(value is None for value in values) else f(*values) for values in fields)


#: A denoiser with its conditioning closed over: (x_t, t) -> E[x_0 | x_t];  t has shape (B,), 0 clean .. 1 noise.
Denoise = Callable[[Tensor, Tensor], Denoised]


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a picture is conditioned on, batched over pictures.

    Args:
        tokens: the text stream, (B, L, D).
        pooled: a summary for the time embedding, (B, P).
        concat: extra input channels, (B, C, H, W): inpainting masks, Zero-1-to-3 views.
        extra: tensors with leading dimension B that an adapter writes under its own name and alone reads.
        maps: as ``extra``, of tensors that lie over the picture, (B, ..., k·H, k·W) for a latent of H × W: a tile is
            given its part of them, and all of ``extra``. No name is in both.
    """

    tokens: Tensor
    pooled: Tensor | None = None
    concat: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=lambda: EMPTY)
    maps: Mapping[str, Tensor] = field(default_factory=lambda: EMPTY)

    def __post_init__(self) -> None:
        if twice := self.extra.keys() & self.maps.keys():
            raise ValueError(
                f"{min(twice)!r} is among the extras and among the maps of a conditioning: name one otherwise"
            )

    @property
    def batch(self) -> int:
        return self.tokens.shape[0]

    def map(self, f: Callable[[Tensor], Tensor]) -> Conditioning:
        """Apply ``f`` to every tensor (a move of device, a slice, an expansion)."""
        return Conditioning(
            tokens=f(self.tokens),
            pooled=None if self.pooled is None else f(self.pooled),
            concat=None if self.concat is None else f(self.concat),
            extra={name: f(value) for name, value in self.extra.items()},
            maps={name: f(value) for name, value in self.maps.items()},
        )

    def expand(self, batch: int) -> Conditioning:
        """One picture's conditioning for ``batch`` pictures; a matching batch passes through."""
        if self.batch == batch:
            return self
        if self.batch != 1:
            raise ValueError(f"a conditioning of {self.batch} pictures cannot serve {batch}: it must hold 1 or {batch}")
        return self.map(lambda v: v.expand(batch, *v.shape[1:]))

    def over(self, frames: int) -> Conditioning:
        """One picture's conditioning for the frames of a clip, as a batch of them; a still's stays as it is.

        Layers that mix frames read in ``extra["frame"]``, (B, F), which of a clip's F frames each of the batch is:
        one-hot, so that a batch may hold several clips, and that F is known without a look at numbers.
        """
        if frames == 1:
            return self
        frame = torch.eye(frames, dtype=self.tokens.dtype, device=self.tokens.device)
        many = self.expand(frames)
        return replace(many, extra={**many.extra, "frame": frame})

    def cat(self, *others: Conditioning) -> Conditioning:
        """Stack along the batch.

        Token streams of unequal length L are repeated whole up to their least common multiple. Softmax attention over
        a stream repeated k times equals attention over the stream, so the repetition changes no cross-attention's
        answer, where zero padding would. Joint attention (MMDiT) has no such rule: ``prompt.encode`` gives it streams
        of one length.
        """
        every = (self, *others)
        length = lcm(*(c.tokens.shape[1] for c in every))
        for part in ("pooled", "concat"):
            if len({getattr(c, part) is None for c in every}) > 1:
                raise ValueError(f"cannot stack conditionings of which some have {part!r} and some have not")
        for part in ("extra", "maps"):
            if len(names := {tuple(sorted(getattr(c, part))) for c in every}) > 1:
                raise ValueError(f"cannot stack conditionings with different {part}: {sorted(names)}")
        return Conditioning(
            tokens=torch.cat([c.tokens.repeat(1, length // c.tokens.shape[1], 1) for c in every]),
            pooled=None if self.pooled is None else torch.cat([c.pooled for c in every if c.pooled is not None]),
            concat=None if self.concat is None else torch.cat([c.concat for c in every if c.concat is not None]),
            extra={name: torch.cat([c.extra[name] for c in every]) for name in self.extra},
            maps={name: torch.cat([c.maps[name] for c in every]) for name in self.maps},
        )


@dataclass(frozen=True, kw_only=True)
class State:
    """What the sampling loop yields after each step; B counts pictures, or the frames of one that moves.

    Args:
        step: how many steps are done, 1 .. steps.
        steps: how many there are.
        t: the time reached, 1 noise .. 0 clean.
        x: the sample at that time, (B, C, H, W).
        x0: the last estimate of the clean sample, (B, C, H, W): what a preview shows.
    """

    step: int
    steps: int
    t: float
    x: Tensor
    x0: Tensor
