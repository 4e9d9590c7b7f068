"""Codecs: between pictures and latents of unit variance."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .errors import InvalidInput
from .nets.autoencoder_kl import AutoencoderKL


class Codec(Protocol):
    """A picture and its latent; a wrapper of a codec (tiles, a preview) is a codec.

    ``factor`` is the number of pixels along one side of a latent cell, ``channels`` the C of the latent, ``scale`` what
    the autoencoder's own numbers are multiplied by.
    """

    factor: int
    channels: int
    scale: float

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, H/f, W/f) of about unit variance; without noise the most probable
        latent."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, h·f, w·f), about [-1, 1]."""
        ...


class VAECodec:
    """The codec of latent diffusion: ``latent = (z - shift - mean) · scale / std`` and back, mean and std by channel.

    Source: Rombach et al. 2022, appendix G (scale); Esser et al. 2024 (shift); Li et al. 2024, Playground v2.5 (mean
    and std).

    Args:
        vae: an autoencoder; its config holds scale and shift. It computes in its own weights' type, and the answer
            comes back in float32, or in float64 when that is the weights' type.
    """

    def __init__(self, vae: AutoencoderKL):
        self.vae = vae
        config = vae.config
        self.scale, self.factor, self.channels = config.scaling_factor, config.factor, config.latent_channels
        mean, std = (
            torch.tensor(each, dtype=torch.float64).view(1, -1, 1, 1)
            for each in (config.latents_mean, config.latents_std)
        )
        self.shift, self.rate = config.shift_factor + mean, config.scaling_factor / std  # (1, 1 or C, 1, 1)
        if not {mean.numel(), std.numel()} <= {1, self.channels} or not (std > 0).all():
            raise InvalidInput(f"latents_mean and latents_std are one number or {self.channels}, each std above 0")

    @property
    def _weight(self) -> Tensor:
        return next(self.vae.parameters())

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> latent (B, C, H/f, W/f).

        Args:
            noise: standard normal of the latent's shape draws z from the posterior; without it z is the mode.

        Raises:
            InvalidInput: H or W is not a multiple of ``factor``.
        """
        height, width = image.shape[-2:]
        if height % self.factor or width % self.factor:
            raise InvalidInput(
                f"a picture of {width}×{height} was given; possible are multiples of {self.factor} pixels"
            )
        posterior = self.vae.encode(image.to(self._weight))
        z = posterior.mode() if noise is None else posterior.sample(noise.to(self._weight))
        z = _wide(z)
        return (z - self.shift.to(z)) * self.rate.to(z)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent (B, C, h, w) -> picture (B, 3, h·f, w·f)."""
        z = latent / self.rate.to(latent) + self.shift.to(latent)
        return _wide(self.vae.decode(z.to(self._weight)))


class Pixels:
    """The codec of models that paint pixels: a picture is its own latent."""

    factor, channels, scale = 1, 3, 1.0

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) -> the same; noise has nothing to choose."""
        return image

    def decode(self, latent: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same."""
        return latent


def _wide(x: Tensor) -> Tensor:
    """Half precisions stay inside the network."""
    return x if x.dtype == torch.float64 else x.float()
