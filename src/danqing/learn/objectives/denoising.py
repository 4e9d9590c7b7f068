"""The objective of diffusion and of flow matching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...denoise import Denoiser
from ...types import Conditioning
from .draws import logit_normal, randn


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """E |F(x_t, t) - (a x_0 + b eps)|^2 over times: score matching in the denoiser's own parametrisation; for "flow" it
    is flow matching (Vincent 2011; Ho et al. 2020, eq. 14; Lipman et al. 2022).

    The batch is (x_0 (B, C, H, W), Conditioning of B); ``times`` is (count, noise) -> (count,) in (0, 1).
    """

    times: Callable[[int, torch.Generator], Tensor] = logit_normal

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Conditioning], noise: torch.Generator
    ) -> dict[str, Tensor]:
        assert isinstance(model, Denoiser)
        x0, cond = batch
        t = self.times(len(x0), noise).to(x0.device)
        eps = randn(tuple(x0.shape), noise, x0)
        out = model.predict(model.noisy(x0, eps, t), t, cond)
        return {"loss": (out.float() - model.target(x0, eps, t)).square().mean()}
