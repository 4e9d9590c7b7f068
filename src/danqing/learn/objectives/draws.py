"""What an objective draws on the CPU, so that every device trains on the same: noise and times."""

from __future__ import annotations

import torch
from torch import Tensor


def randn(shape: tuple[int, ...], noise: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers drawn on the CPU, so that every device trains on the same noise."""
    return torch.randn(shape, generator=noise).to(like.device, like.dtype)


def uniform(count: int, noise: torch.Generator) -> Tensor:
    """Times in (0, 1), all equally likely and stratified: one lies in each of ``count`` equal parts, in random order,
    so that a batch covers all times and the loss wanders less (Kingma et al. 2021, appendix I.1). Shape (count,)."""
    part = (torch.randperm(count, generator=noise) + torch.rand(count, generator=noise)) / count
    return part.double().clamp(1e-6, 1 - 1e-6).float()


def logit_normal(count: int, noise: torch.Generator, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Times in (0, 1) whose logit is N(mean, std^2): more of the middle, where flow matching is hard (Esser et al.
    2024, 3.1).

    They are stratified as those of `uniform`. Shape (count,).
    """
    return torch.sigmoid(mean + std * torch.special.ndtri(uniform(count, noise).double())).float()
