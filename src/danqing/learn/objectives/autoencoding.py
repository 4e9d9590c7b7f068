"""The objective of autoencoders for latent diffusion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .draws import randn


def kl_to_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp logvar) || N(0, 1)) per element, in nats: (mean^2 + var - 1 - log var) / 2 (Kingma & Welling 2013,
    app. B)."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar)


def gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and vertical finite differences of two pictures: sharp edges cost
    little in L1 when blurred, and much here."""
    d = a - b
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()


@dataclass(frozen=True, kw_only=True)
class Autoencoding:
    """The ELBO with a Laplace likelihood, edges weighted: L1 + edge * L1 of gradients + kl * KL (Kingma & Welling
    2013).

    ``equivariance`` weighs the same reconstruction of the halved picture from the halved latent: latents without hidden
    high frequencies are easier to paint in (Skorokhodov et al. 2025, "Improving the diffusability of autoencoders").
    The batch is pictures (B, 3, H, W) in [-1, 1]; the model offers ``encode(x)`` -> posterior (mean, logvar) and
    ``decode(z)``.
    """

    edge: float = 1.0
    kl: float = 1e-3
    equivariance: float = 0.0

    def __call__(self, model: nn.Module, batch: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
        posterior = model.encode(batch)  # type: ignore[operator]
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        z = mean + (0.5 * logvar).exp() * randn(tuple(mean.shape), noise, mean)
        out = model.decode(z).float()  # type: ignore[operator]
        l1, edges = (out - batch).abs().mean(), gradient_l1(out, batch)
        kl = kl_to_standard_normal(mean, logvar).mean()
        loss = l1 + self.edge * edges + self.kl * kl
        if self.equivariance:
            half, halved = F.avg_pool2d(batch, 2), model.decode(F.avg_pool2d(z, 2)).float()  # type: ignore[operator]
            loss = loss + self.equivariance * ((halved - half).abs().mean() + self.edge * gradient_l1(halved, half))
        return {"loss": loss, "l1": l1, "edges": edges, "kl": kl}
