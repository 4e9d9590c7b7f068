"""The autoencoder of latent diffusion: pictures to a small grid of Gaussians and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import Downsample, ResnetBlock, Upsample
from .operations import Activated, Attend

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLConfig:
    """The shape of an `AutoencoderKL`.

    Args:
        in_channels, out_channels: of the picture.
        block_out_channels: one width a level, finest first; each level but the last halves the grid.
        layers_per_block: residual blocks a level in the encoder; the decoder has one more.
        latent_channels: C of the latent.
        norm_num_groups: divides every width.
        mid_block_add_attention: one self-attention over the coarsest grid.
        use_quant_conv, use_post_quant_conv: 1×1 convolutions at the two sides of the latent.
        scaling_factor, shift_factor: latent = (z - shift) * scale has unit variance; a codec applies them.
        latents_mean, latents_std: the same for each channel, latent = (z - shift - mean) * scale / std; one number for
            all, or C.
        patch: side of the pixel blocks folded into channels before the encoder and unfolded after the decoder, >= 1.
    """

    in_channels: int = 3
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    mid_block_add_attention: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    scaling_factor: float = 0.18215
    shift_factor: float = 0.0
    latents_mean: tuple[float, ...] = (0.0,)
    latents_std: tuple[float, ...] = (1.0,)
    patch: int = 1

    @property
    def factor(self) -> int:
        """Pixels a latent cell along one side."""
        return self.patch * 2 ** (len(self.block_out_channels) - 1)


SD1 = AutoencoderKLConfig()
SD2 = SD1
SDXL = AutoencoderKLConfig(scaling_factor=0.13025)
SD3 = AutoencoderKLConfig(
    latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609
)
#: 128 px -> 16×16×8. The patch keeps the costly full-resolution level away from a CPU.
MINI = AutoencoderKLConfig(
    block_out_channels=(96, 160),
    layers_per_block=1,
    latent_channels=8,
    mid_block_add_attention=False,
    scaling_factor=1.0,
    patch=4,
)


@dataclass(frozen=True)
class Posterior:
    """q(z | x) = N(mean, exp(logvar)), independent over cells.

    Args:
        mean: (B, C, h, w).
        logvar: (B, C, h, w), within [-30, 20].
    """

    mean: Tensor
    logvar: Tensor

    def mode(self) -> Tensor:
        """The most probable latent, (B, C, h, w)."""
        return self.mean

    def sample(self, noise: Tensor | torch.Generator | None = None) -> Tensor:
        """z = mean + std · noise, (B, C, h, w); ``noise`` is standard normal, or the generator that draws it."""
        if not isinstance(noise, Tensor):
            device = self.mean.device if noise is None else noise.device
            noise = torch.randn(self.mean.shape, generator=noise, dtype=self.mean.dtype, device=device)
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean)

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) = ½ Σ (mean² + var − 1 − log var), nats a picture, (B,). Kingma & Welling 2013, app. B."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).flatten(1).sum(1)


class SelfAttention(nn.Module):
    """One-headed self-attention over the cells of a grid, added to its input.

    ``y = x + W_o softmax(q kᵀ / √C) v``.

    Args:
        channels: C, also the size of the head.
        groups: of the group norm.
    """

    def __init__(self, channels: int, *, groups: int):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.attend = Attend()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        h = self.group_norm(x).flatten(2).transpose(1, 2)[:, None]  # (B, 1, HW, C)
        h = self.attend(self.to_q(h), self.to_k(h), self.to_v(h))
        return x + self.to_out[0](h[:, 0]).transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
    """Residual blocks at one resolution, then a change of resolution where there is one."""

    def __init__(
        self, channels: int, out_channels: int, *, layers: int, groups: int, down: bool = False, up: bool = False
    ):
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(channels if i == 0 else out_channels, out_channels, groups=groups, eps=EPS)
            for i in range(layers)
        )
        # Named lists, because the published names are `downsamplers.0` and `upsamplers.0`; an empty list has no keys.
        self.downsamplers = nn.ModuleList([Downsample(out_channels, padding=(0, 1, 0, 1))] if down else [])
        self.upsamplers = nn.ModuleList([Upsample(out_channels)] if up else [])

    @property
    def steps(self) -> tuple[nn.Module, ...]:
        """Its layers in their order."""
        return (*self.resnets, *self.downsamplers, *self.upsamplers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C_out, H', W'): halved, doubled or the same."""
        for layer in self.steps:
            x = layer(x)
        return x


class Mid(nn.Module):
    """A residual block, self-attention where wanted, a residual block, at the coarsest resolution."""

    def __init__(self, channels: int, *, groups: int, attention: bool):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups=groups, eps=EPS) for _ in range(2))
        self.attentions = nn.ModuleList([SelfAttention(channels, groups=groups)] if attention else [])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for layer in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = layer(x)
        return x


class Encoder(nn.Module):
    """Picture to the parameters of the posterior: (B, C_in·p², H/p, W/p) -> (B, 2C, h, w)."""

    def __init__(self, config: AutoencoderKLConfig):
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels * config.patch**2, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Level(before, width, layers=config.layers_per_block, groups=groups, down=i < len(widths) - 1)
            for i, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.mid_block = Mid(widths[-1], groups=groups, attention=config.mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.activated = Activated()
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        x = self.mid_block(x)
        return self.conv_out(self.activated(self.conv_norm_out, x))


class Decoder(nn.Module):
    """Latent to picture: (B, C, h, w) -> (B, C_out·p², H/p, W/p)."""

    def __init__(self, config: AutoencoderKLConfig):
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.up_blocks = nn.ModuleList(
            Level(before, width, layers=config.layers_per_block + 1, groups=groups, up=i < len(widths) - 1)
            for i, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.mid_block = Mid(widths[0], groups=groups, attention=config.mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.activated = Activated()
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels * config.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(z))
        # One loop over the layers of all levels, so that nobody holds what a level began with until it ends.
        for layer in (layer for level in self.up_blocks for layer in cast(Level, level).steps):
            x = layer(x)
        return self.conv_out(self.activated(self.conv_norm_out, x))


class AutoencoderKL(nn.Module):
    """A convolutional variational autoencoder with a small KL weight.

    ``q(z|x) = N(mean(x), exp(logvar(x)));  x̂ = decode(z)``. Module names are those of diffusers' `AutoencoderKL`.
    Source: Rombach et al. 2022, section 3.1 and appendix G.

    Args:
        config: the shape; `SD1`, `SD2`, `SDXL`, `SD3` and `MINI` are at hand.
    """

    def __init__(self, config: AutoencoderKLConfig):
        super().__init__()
        self.config = config
        double, single = 2 * config.latent_channels, config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(double, double, 1) if config.use_quant_conv else nn.Identity()
        self.post_quant_conv = nn.Conv2d(single, single, 1) if config.use_post_quant_conv else nn.Identity()

    def encode(self, image: Tensor) -> Posterior:
        """(B, 3, H, W) in [-1, 1] -> posterior over (B, C, H/f, W/f), f = ``config.factor``.

        Raises:
            InvalidInput: H or W is not a multiple of f.
        """
        height, width = image.shape[-2:]
        f = self.config.factor
        if height % f or width % f:
            raise InvalidInput(
                f"a picture of {width}×{height} does not fit the autoencoder: use multiples of {f} pixels"
            )
        x = F.pixel_unshuffle(image, self.config.patch)  # (B, 3p², H/p, W/p)
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """(B, C, h, w) -> picture (B, 3, h·f, w·f), about [-1, 1]."""
        return F.pixel_shuffle(self.decoder(self.post_quant_conv(z)), self.config.patch)

    def forward(self, image: Tensor, noise: Tensor | torch.Generator | None = None) -> tuple[Tensor, Posterior]:
        """The picture through a sampled latent, and the posterior it came from."""
        posterior = self.encode(image)
        return self.decode(posterior.sample(noise)), posterior


def _neutral(config: AutoencoderKLConfig) -> bool:
    """Whether all channels of the latent have the mean 0 and the deviation 1."""
    return not any(config.latents_mean) and set(config.latents_std) == {1.0}


def diffusers_config(config: AutoencoderKLConfig) -> dict[str, Any]:
    """The keyword arguments of diffusers' `AutoencoderKL` of the same weights; ``patch`` stays outside, around it."""
    depth = len(config.block_out_channels)
    return {
        "in_channels": config.in_channels * config.patch**2,
        "out_channels": config.out_channels * config.patch**2,
        "down_block_types": ("DownEncoderBlock2D",) * depth,
        "up_block_types": ("UpDecoderBlock2D",) * depth,
        "block_out_channels": config.block_out_channels,
        "layers_per_block": config.layers_per_block,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.norm_num_groups,
        **({} if _neutral(config) else {"latents_mean": config.latents_mean, "latents_std": config.latents_std}),
        "mid_block_add_attention": config.mid_block_add_attention,
        "use_quant_conv": config.use_quant_conv,
        "use_post_quant_conv": config.use_post_quant_conv,
        "scaling_factor": config.scaling_factor,
        "shift_factor": config.shift_factor,
    }
