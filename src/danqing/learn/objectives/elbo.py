"""The evidence lower bound of a VAE with a likelihood, in bits a colour number, and the weights of its tighter kin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from . import variational
from .draws import randn


@dataclass(frozen=True, kw_only=True)
class EvidenceBound:
    """-E_q log P(x | z) + beta KL(q(z | x) || p(z)), per colour number and in bits: distortion and rate.

    At beta = 1 it bounds -log P(x), what a lossless coder needs (Kingma & Welling 2013, equation 3); above 1 the
    latents are fewer and more independent (Higgins et al. 2017, equation 4); at 0 it is an autoencoder, whose prior has
    no meaning.

    The batch is pictures of bytes (B, 3, H, W) in [-1, 1]; the model offers ``encode(x)`` -> posterior and
    ``log_prob(x, z)`` in nats. It tells the bound of beta = 1 as ``bits`` whatever beta is, and both of its parts:
    ``distortion`` and ``rate``, in the same unit.
    """

    beta: float = 1.0

    def __call__(self, model: nn.Module, batch: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
        posterior = model.encode(batch)  # type: ignore[operator]
        z = posterior.sample(randn(tuple(posterior.mean.shape), noise, posterior.mean))
        unit = 1 / (batch[0].numel() * math.log(2))  # nats a picture -> bits a number
        distortion = -unit * model.log_prob(batch, z).mean()  # type: ignore[operator]
        rate = unit * posterior.kl().mean()
        return {
            "loss": distortion + self.beta * rate,
            "bits": distortion + rate,
            "distortion": distortion,
            "rate": rate,
        }


def log_weights(model: nn.Module, picture: Tensor, count: int, noise: torch.Generator) -> Tensor:
    """log w = log P(x | z) p(z) / q(z | x) of ``count`` draws of q for each picture, (K, B) in nats.

    `variational.elbo` and `variational.importance_bound` make bounds of them.

    Args:
        model: as for `EvidenceBound`, its prior N(0, I).
        picture: (B, 3, H, W) of bytes in [-1, 1].
    """
    posterior = model.encode(picture)  # type: ignore[operator]
    std = torch.exp(0.5 * posterior.logvar)
    z = posterior.mean + std * randn((count, *posterior.mean.shape), noise, posterior.mean)  # (K, B, D)

    def log_joint(z: Tensor) -> Tensor:
        seen = torch.stack([model.log_prob(picture, each) for each in z])  # type: ignore[operator]
        return seen + Normal(0.0, 1.0).log_prob(z).sum(-1)

    return variational.log_weights(log_joint, Independent(Normal(posterior.mean, std), 1), z)
