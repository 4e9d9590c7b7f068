"""What trainings minimise. Each objective is (model, batch, noise) -> named losses, and knows no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..denoise import Denoiser
from ..types import Conditioning


def randn(shape: tuple[int, ...], noise: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers drawn on the CPU, so that every device trains on the same noise."""
    return torch.randn(shape, generator=noise).to(like.device, like.dtype)


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


def contrastive(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """The symmetric InfoNCE of unit vectors, (CE(scale I T^T) + CE(scale T I^T)) / 2, in nats (Radford et al. 2021,
    fig. 3).

    Args:
        image, text: (B, P), paired row by row, of unit length.
        scale: the inverse temperature, a scalar.
    """
    logits = scale * image @ text.T  # (B, B)
    labels = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


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
