"""What an estimate says of how it was composed: of terms of positive weight, x_0 = b + w (c - b), w the sum of theirs,
c `Denoised.cond`, b `Denoised.base`."""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import Denoised


def wide(x: Tensor) -> Tensor:
    """x in float32 at least, which sums over a picture need."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def three(found: Denoised) -> tuple[Tensor, Tensor, Tensor] | None:
    """x_0, c and b in `wide`; None where guidance composed nothing."""
    if found.cond is None or found.base is None:
        return None
    return wide(found.x0), wide(found.cond), wide(found.base)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """sum a b of each picture, (B, ...) -> (B, 1, ...)."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdim=True)


def led(found: Denoised) -> Tensor:
    """What guidance leads towards; without guidance the estimate itself."""
    return found.x0 if found.cond is None else found.cond


def part(over: Tensor, under: Tensor) -> Tensor:
    """over / under, and 1 where under is 0."""
    return torch.where(under == 0, 1, over / torch.where(under == 0, 1, under))


def weight(x0: Tensor, cond: Tensor, base: Tensor) -> Tensor:
    """w of each picture, by least squares: <x_0 - b, c - b> / ‖c - b‖², 1 where c = b; (B, ...) -> (B, 1, ...)."""
    return part(dot(x0 - base, cond - base), dot(cond - base, cond - base))
