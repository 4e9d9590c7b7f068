"""A change of a weight as the product of two factors: its largest singular vectors.

For ΔW (m, n) with m ≤ n, ``ΔW ΔWᵀ = U S² Uᵀ``, and ``U_r U_rᵀ ΔW`` is the best of rank r (Eckart & Young 1936). It
needs no singular value, which may be 0, so that the full rank is ΔW to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor


def factors(change: Tensor, rank: int | None, energy: float | None) -> tuple[Tensor, Tensor]:
    """``up`` (m, r) and ``down`` (r, n), whose product is the best of its rank; column i of one is as long as row i of
    the other.

    Args:
        change: (m, n), of fp32 or more.
        rank: r at most; any where not given.
        energy: the least r that keeps this share of ``‖ΔW‖²``, if the rank allows it.
    """
    tall = change.shape[0] > change.shape[1]
    wide = change.mT if tall else change
    squares, vectors = torch.linalg.eigh((wide @ wide.mT).double())
    squares, vectors = squares.flip(0).clamp_min(0), vectors.flip(1)
    kept = min(len(squares), rank or len(squares), _least(squares, energy or 1.0))
    basis = vectors[:, :kept].to(change.dtype)
    length = squares[:kept].sqrt().sqrt().to(change.dtype)
    length = torch.where(length > 0, length, 1)
    up, down = basis * length, (basis.mT @ wide) / length[:, None]
    return (down.mT, up.mT) if tall else (up, down)


def _least(squares: Tensor, energy: float) -> int:
    """How many of the largest squares make so large a share of their sum, at least 1."""
    if energy == 1:
        return len(squares)
    shares = squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(squares.dtype).tiny)
    return min(len(squares), 1 + int((shares < energy).sum()))
