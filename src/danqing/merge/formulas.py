"""The formulas of `danqing.merge.methods`: tensors of one name, one of each file, to the tensor that is written.

Tensors are of one shape, and of fp32 or more; the weights are those of the files behind the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..noise import keyed

Tensors = Sequence[Tensor]
Numbers = Sequence[float]


def sum(tensors: Tensors, weights: Numbers) -> Tensor:
    """``A + Σ w_i (B_i − A)``."""
    a, *others = tensors
    if len(others) == 1:
        return torch.lerp(a, others[0], weights[0])
    return _added(a, (w * (b - a) for b, w in zip(others, weights, strict=True)))


def add_difference(tensors: Tensors, weights: Numbers) -> Tensor:
    """``A + w (B − C)``."""
    a, b, c = tensors
    return torch.add(a, b - c, alpha=weights[0])


def slerp(tensors: Tensors, weights: Numbers) -> Tensor:
    """``((1 − t) ‖A‖ + t ‖B‖) (sin((1 − t) Ω) Â + sin(t Ω) B̂) / sin Ω``, Â and B̂ of unit length, Ω the angle between
    them.

    Where one is 0, or both lie on one line, it is the straight line. Source: Shoemake 1985.
    """
    (a, b), t = tensors, weights[0]
    length = [_length(a), _length(b)]
    if not all(length):
        return torch.lerp(a, b, t)
    apart, joined = (_length(torch.add(a / length[0], b, alpha=sign / length[1])) for sign in (-1, 1))
    angle = 2 * math.atan2(apart, joined)
    if math.sin(angle) < 1e-6:
        return torch.lerp(a, b, t)
    scale = ((1 - t) * length[0] + t * length[1]) / math.sin(angle)
    return a * (scale * math.sin((1 - t) * angle) / length[0]) + b * (scale * math.sin(t * angle) / length[1])


def ties(tensors: Tensors, weights: Numbers, density: float) -> Tensor:
    """``A + mean over the i whose sign is the elected one of w_i trim(B_i − A)``; elected is the sign of their sum.

    Source: Yadav et al. 2023, section 4.
    """
    return _agreed(tensors, weights, lambda delta, i: trimmed(delta, density))


def dare(tensors: Tensors, weights: Numbers, density: float, seed: int, key: str) -> Tensor:
    """``A + Σ w_i m_i (B_i − A) / density``, m_i 1 with the probability ``density``, else 0.

    Source: Yu et al. 2024, section 3.2; its drop rate is 1 − density.
    """
    a, *others = tensors
    found = (w * drawn(b - a, density, seed, key, i) for i, (b, w) in enumerate(zip(others, weights, strict=True)))
    return _added(a, found)


def dare_ties(tensors: Tensors, weights: Numbers, density: float, seed: int, key: str) -> Tensor:
    """As `ties`, of what `dare` draws."""
    return _agreed(tensors, weights, lambda delta, i: drawn(delta, density, seed, key, i))


def trimmed(delta: Tensor, density: float) -> Tensor:
    """A difference of which so large a share is kept, the largest numbers, and the others are 0."""
    size = delta.abs().flatten()
    kept = math.ceil(density * size.numel())
    if kept >= size.numel():
        return delta
    least = torch.kthvalue(size, size.numel() - kept + 1).values
    return torch.where(delta.abs() >= least, delta, 0)


def drawn(delta: Tensor, density: float, seed: int, key: str, number: int) -> Tensor:
    """A difference of which so large a share is kept, drawn, and made larger by as much; the others are 0."""
    draw = keyed("dare", seed, number, key)
    return torch.where(torch.rand(delta.shape, generator=draw) < density, delta / density, 0)


def _length(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def _added(a: Tensor, terms: Iterable[Tensor]) -> Tensor:
    total = a.clone()
    for term in terms:
        total += term
    return total


def _agreed(tensors: Tensors, weights: Numbers, sparse: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A and the mean of the weighted sparse differences whose sign is that of their sum."""
    a, *others = tensors
    deltas = [w * sparse(b - a, i) for i, (b, w) in enumerate(zip(others, weights, strict=True))]
    total = torch.zeros_like(a)
    for delta in deltas:
        total += delta
    elected = total.sign_()
    agreed, count = torch.zeros_like(a), torch.zeros_like(a)
    for delta in deltas:
        with_it = (delta * elected) > 0
        agreed += torch.where(with_it, delta, 0)
        count += with_it
    return a + agreed / count.clamp_min_(1)
