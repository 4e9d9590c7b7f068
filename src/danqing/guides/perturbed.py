"""Perturbed-attention guidance (PAG): away from what the network estimates when cells do not see each other."""

from __future__ import annotations

from torch import Tensor

from ..types import Denoise, Denoised
from .terms import led


def perturbed(guided: Denoise, worse: Denoise, scale: float) -> Denoise:
    """x_0 + scale (c - c'), c' the estimate of ``worse``, whose self-attentions are the identity (`nets.perturbed`); 0
    is ``guided`` itself, and ``worse`` is not asked. Source: Ahn et al. 2024, equation 16.
    """

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        return found._replace(x0=found.x0 + scale * (led(found) - led(worse(x, t))))

    return denoise if scale else guided
