"""StyleGAN, the first: styles that scale and shift normalised channels, a learned constant for input, noise at every
layer.

The mapping network is StyleGAN2's, unchanged. Source: Karras et al. 2019, "A style-based generator architecture for
generative adversarial networks", section 2 and appendices B and C.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .stylegan2 import Draw, Linear, Mapping, StyleGAN2Config, leaky, replicated
from .upfirdn import low_pass, upfirdn

#: The binomial blur of the first version, narrower than the second's.
TAPS = (1.0, 2.0, 1.0)


def adain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``scale (x - mean) / std + shift``, mean and deviation being those of each channel of each picture (eq. 1).

    Args:
        x: (B, C, H, W).
        scale, shift: (B, C).
    """
    return F.instance_norm(x, eps=1e-8) * scale[:, :, None, None] + shift[:, :, None, None]


class StyleLayer(nn.Module):
    """``adain(leaky(x + strength ⊙ noise + b); A w)``, x being the convolution of what comes in, or the constant.

    Args:
        channels, out_channels: C_in and C_out; where C_in is 0 there is no convolution.
        w_dim: of the style.
        up: whether the picture is doubled, and blurred, at the convolution.
    """

    def __init__(self, channels: int, out_channels: int, w_dim: int, *, up: bool = False):
        super().__init__()
        self.up = up
        self.weight = nn.Parameter(torch.randn(out_channels, channels, 3, 3)) if channels else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(out_channels))
        self.affine = Linear(w_dim, 2 * out_channels)
        self.register_buffer("blur", low_pass(TAPS))
        self.blur: Tensor

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """(B, C_in, H, W), (B, w_dim), (B, 1, H', W') or None -> (B, C_out, H', W')."""
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.weight is not None:
            x = F.conv2d(x, self.weight / math.sqrt(self.weight[0].numel()), padding=1)
        if self.up:
            x = upfirdn(x, self.blur, before=1, after=1)
        if noise is not None:
            x = x + self.noise_strength[:, None, None] * noise
        scale, shift = self.affine(w).chunk(2, 1)
        return adain(leaky(x + self.bias[:, None, None]), 1 + scale, shift)


class StyleGAN(nn.Module):
    """A latent becomes a style, and styles a picture, whose colours the last resolution alone says.

    Args:
        config: the network's shape; that of StyleGAN2.
    """

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.w_dim, config.classes, config.mapping_layers)
        self.const = nn.Parameter(torch.ones(config.channels(4), 4, 4))
        self.layers = nn.ModuleList()
        for resolution in config.resolutions:
            channels = config.channels(resolution)
            before = config.channels(resolution // 2) if resolution > 4 else 0
            self.layers.append(StyleLayer(before, channels, config.w_dim, up=resolution > 4))
            self.layers.append(StyleLayer(channels, channels, config.w_dim))
        self.torgb = nn.Conv2d(config.channels(config.resolution), config.img_channels, 1)

    def styles(self, z: Tensor, labels: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """As `StyleGAN2.styles`: (B, z_dim) -> (B, L, w_dim)."""
        w = self.mapping(z, labels)
        return replicated(self.mapping.truncated(w, psi), w, self.config.layers, cutoff)

    def synthesis(self, ws: Tensor, noise: Draw | None = None) -> Tensor:
        """(B, L, w_dim) -> (B, 3, R, R), about [-1, 1]; without ``noise`` there is none."""
        x = self.const.expand(len(ws), -1, -1, -1)
        for k, layer in enumerate(self.layers):
            side = self.config.resolutions[k // 2]
            x = layer(x, ws[:, k], None if noise is None else noise(x.new_empty(len(x), 1, side, side), k))
        return self.torgb(x)

    def forward(
        self, z: Tensor, labels: Tensor | None = None, *, psi: float = 1.0, noise: Draw | None = None
    ) -> Tensor:
        """(B, z_dim) of N(0, 1) -> (B, 3, R, R), about [-1, 1]; ``psi`` in [0, 1] truncates."""
        return self.synthesis(self.styles(z, labels, psi=psi), noise)
