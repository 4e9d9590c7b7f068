"""The UNet of diffusion in pixels: DDPM's, and with the embedding of noise that a score network reads.

How an adapter meets it is as in `unet`: ``residuals`` are port 1, each stage's ``inserted`` port 2, layers by name port
4; it reads no text, so there is no port 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import Downsample, ResnetBlock
from .operations import Attend
from .ports import Context
from .trunk import Backbone, Same, TrunkConfig, angles

EPS = 1e-6  # of all norms; published weights were trained with it


@dataclass(frozen=True, kw_only=True)
class PixelUNetConfig(TrunkConfig):
    """The shape of a `PixelUNet`, of even widths; a network of a learned variance writes twice what it reads.

    Args:
        attention_heads: heads of the attention after each residual block, one number a level; 0 leaves attention out.
        mid_attention_heads: the same in the middle, at least 1.
        scale_shift: time scales and shifts what a residual block has normalised, instead of being added before.
        classes: K classes that ``pooled`` tells; 0 for a network without.
        norm_num_groups: divides every width.
    """

    in_channels: int = 3
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = (128, 256, 256, 256)
    attention_heads: tuple[int, ...] = (0, 1, 0, 0)
    mid_attention_heads: int = 1
    scale_shift: bool = False
    classes: int = 0
    norm_num_groups: int = 32

    @property
    def attended(self) -> list[tuple[int, int]]:
        """(width, heads) of every level with attention, then of the middle."""
        widths, heads = self.block_out_channels, self.attention_heads
        return [
            (width, n) for width, n in zip((*widths, widths[-1]), (*heads, self.mid_attention_heads), strict=True) if n
        ]


#: Ho et al. 2020, appendix B: 32 px of CIFAR-10 and 256 px of LSUN and CelebA-HQ.
CIFAR10 = PixelUNetConfig()
LSUN = PixelUNetConfig(block_out_channels=(128, 128, 256, 256, 512, 512), attention_heads=(0, 0, 0, 0, 1, 0))
#: 32 px on a CPU, with a learned variance: 2.9M parameters; attention at 8×8.
MINI = PixelUNetConfig(
    out_channels=6,
    block_out_channels=(48, 80, 112),
    layers_per_block=1,
    attention_heads=(0, 0, 2),
    mid_attention_heads=2,
    scale_shift=True,
    norm_num_groups=8,
)


def sinusoid(values: Tensor, dim: int) -> Tensor:
    """Sines and cosines of ``values`` at geometrically falling frequencies, (N,) -> (N, dim), in at least float32.

    ``f_i = 10000^(-i / (dim/2 - 1));  [sin(v f_0), …, cos(v f_0), …]``: the last frequency is 1/10000 itself, where
    `unet`'s stop short of it. Source: Ho et al. 2020, as published.
    """
    turns = angles(values, dim // 2, dim // 2 - 1)
    return torch.cat([turns.sin(), turns.cos()], dim=1)


class ScaleShiftBlock(ResnetBlock):
    """A residual block whose second norm takes its scale and shift from time.

    ``h = (1 + s) norm2(conv1(silu(norm1(x)))) + b,  [s, b] = W silu(time);  y = shortcut(x) + conv2(silu(h))``.
    Source: Nichol & Dhariwal 2021, section 2.3 and appendix A. The arguments are those of `ResnetBlock`.
    """

    def __init__(self, channels: int, out_channels: int, *, groups: int, eps: float, time_channels: int):
        super().__init__(channels, out_channels, groups=groups, eps=eps)
        self.time_emb_proj = nn.Linear(time_channels, 2 * out_channels)

    def forward(self, x: Tensor, ctx: Context | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C_out, H, W)."""
        assert ctx is not None and self.time_emb_proj is not None
        scale, shift = self.time_emb_proj(F.silu(ctx.time))[:, :, None, None].chunk(2, dim=1)  # each (B, C_out, 1, 1)
        h = torch.addcmul(shift, self.norm2(self.conv1(self.activated(self.norm1, x))), 1 + scale)
        return self.conv_shortcut(x) + self.conv2(F.silu(h))


class CellAttention(nn.Module):
    """Attention of a grid's cells over themselves, added to the grid: ``y = x + W_o softmax(q kᵀ / √d) v``.

    Args:
        channels: C of the grid.
        heads: divides C; d = C / heads.
        groups: of the group norm.
    """

    def __init__(self, channels: int, *, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.group_norm = nn.GroupNorm(groups, channels, EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.attend = Attend()

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        cells = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        made = (to(cells) for to in (self.to_q, self.to_k, self.to_v))  # each (B, HW, C)
        q, k, v = (h.unflatten(2, (self.heads, -1)).transpose(1, 2) for h in made)  # each (B, heads, HW, d)
        h = self.attend(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out[0](h).transpose(1, 2).reshape(x.shape)

    def apart(self, x: Tensor, ctx: Context) -> Tensor:
        """The same where each cell attends to itself alone: ``x + W_o v``."""
        cells = self.group_norm(x).flatten(2).transpose(1, 2)
        return x + self.to_out[0](self.to_v(cells)).transpose(1, 2).reshape(x.shape)


class PixelUNet(Backbone):
    """The denoising UNet of DDPM, conditioned on time and, where wanted, on a class.

    Called as `Backbone.forward` says, with x in [-1, 1] and noise, height and width multiples of 2^(levels - 1), time
    in 0 .. T-1, and ``pooled`` (B, K), how much of each class: one-hot, or zeros for none, from which guidance counts.
    Module names are those of diffusers' `UNet2DModel`, conventions those of the published DDPMs. The last convolution
    of every block
    and of the network begins at zero: a new network answers 0, and each block passes on what it reads.
    Source: Ho et al. 2020, appendix B; Nichol & Dhariwal 2021.

    Args:
        config: the shape; `CIFAR10`, `LSUN` and `MINI` are at hand.

    Raises:
        InvalidInput: the levels of the configuration do not agree, or heads do not divide a width.
    """

    config: PixelUNetConfig

    def __init__(self, config: PixelUNetConfig):
        widths, heads = config.block_out_channels, config.attention_heads
        if len(widths) != len(heads):
            raise InvalidInput(
                f"a UNet of {len(widths)} levels {widths} has attention_heads {heads}: give one number a level"
            )
        if not config.mid_attention_heads or any(width % n for width, n in config.attended):
            raise InvalidInput(
                f"attention_heads {heads}, in the middle {config.mid_attention_heads}, must divide the widths {widths}"
            )
        super().__init__(config)
        ends = [layer.conv2 for layer in self.modules() if isinstance(layer, ResnetBlock)]
        ends += [layer.to_out[0] for layer in self.modules() if isinstance(layer, CellAttention)]
        for p in (p for layer in (*ends, self.conv_out) for p in layer.parameters()):
            nn.init.zeros_(p)

    def make_embeddings(self) -> None:
        config = self.config
        self.class_embedding = nn.Embedding(config.classes, config.time_channels) if config.classes else None

    def resnet(self, channels: int, out_channels: int) -> ResnetBlock:
        block = ScaleShiftBlock if self.config.scale_shift else ResnetBlock
        groups, time_channels = self.config.norm_num_groups, self.config.time_channels
        return block(channels, out_channels, groups=groups, eps=EPS, time_channels=time_channels)

    def attention(self, level: int, width: int) -> nn.Module:
        heads = (*self.config.attention_heads, self.config.mid_attention_heads)[level]
        return CellAttention(width, heads=heads, groups=self.config.norm_num_groups) if heads else Same()

    def downsample(self, width: int) -> Downsample:
        return Downsample(width, padding=(0, 1, 0, 1))

    def norm(self, width: int) -> nn.Module:
        return nn.GroupNorm(self.config.norm_num_groups, width, EPS)

    def features(self, time: Tensor) -> Tensor:
        return sinusoid(time, self.time_features)

    def embed(self, x: Tensor, time: Tensor, pooled: Tensor | None) -> Tensor:
        """The embedding of time, plus that of the class where the network has classes, (B, E), in the dtype of x."""
        embedding = super().embed(x, time, pooled)
        if self.class_embedding is None:
            return embedding
        if pooled is None or pooled.shape[-1] != self.config.classes:
            given = "none" if pooled is None else f"one of width {pooled.shape[-1]}"
            raise InvalidInput(
                f"this UNet knows {self.config.classes} classes and was given {given}: give pooled (B, "
                f"{self.config.classes}), 1 at the "
                "class and 0 elsewhere; only zeros for no class"
            )
        return embedding + pooled.to(x.dtype) @ self.class_embedding.weight

    def check(self, x: Tensor, tokens: Tensor | None) -> None:
        """Refuse other channels, and sides that do not halve."""
        step = 2 ** (len(self.config.block_out_channels) - 1)
        if x.shape[1] != self.config.in_channels or any(side % step for side in x.shape[2:]):
            channels, height, width = x.shape[1:]
            raise InvalidInput(
                f"this UNet reads {self.config.in_channels} channels and sides that {step} divides; given were "
                f"{channels} channels of {width}×{height}: pad or crop the picture"
            )


class Fourier(nn.Module):
    """``[sin(2π w v), cos(2π w v)]``, w ~ N(0, 16²) drawn once and never trained, (N,) -> (N, 2 dim).

    New ones are numbers of bfloat16: rounded to it later, they would be other features, for 2π w v turns many times.
    Source: Tancik et al. 2020, section 6.1, as in Song et al. 2021.
    """

    weight: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("weight", (16 * torch.randn(dim)).bfloat16().float())

    def forward(self, values: Tensor) -> Tensor:
        angles = 2 * math.pi * values[:, None] * self.weight.to(values.dtype)  # (N, dim)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ScoreUNet(PixelUNet):
    """A `PixelUNet` that answers the score itself: it reads sigma through random Fourier features, and is divided by
    it.

    ``F(x, sigma) = net(x, fourier(log sigma)) / sigma``: the norm of a score grows as 1 / sigma, so that the net's need
    not. Source: Song & Ermon 2020, technique 3; Song et al. 2021, appendix C and H.

    The Denoiser of it has the parametrisation `denoise.PARAMETRISATIONS["score"]` with sigma for its time:
    ``._replace(time=lambda alpha, sigma: sigma)``; under VP too, whose sigma is in [0, 1].
    """

    def __init__(self, config: PixelUNetConfig):
        super().__init__(config)
        self.time_proj = Fourier(config.block_out_channels[0])

    @property
    def time_features(self) -> int:
        return 2 * self.config.block_out_channels[0]

    def features(self, time: Tensor) -> Tensor:
        """(B,) of sigma > 0 -> (B, 2 C_0)."""
        return self.time_proj(time.to(torch.promote_types(time.dtype, torch.float32)).log())

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor | None = None, **more: Any) -> Tensor:
        """As `PixelUNet.forward`, with sigma for the time; (B, C_out, H, W)."""
        return super().forward(x, time, tokens, **more) / time.to(x.dtype)[:, None, None, None]


def diffusers_config(config: PixelUNetConfig) -> dict[str, Any]:
    """The keyword arguments of diffusers' `UNet2DModel` of the same weights, for a `PixelUNet`.

    Raises:
        InvalidInput: heads of different widths, for which it has one number.
    """
    sizes = {width // heads for width, heads in config.attended}
    single = all(heads == 1 for _, heads in config.attended)
    if len(sizes) != 1 and not single:
        raise InvalidInput(
            f"diffusers has one width for the heads of all levels, not {sorted(sizes)}: choose heads of one width"
        )
    kinds = ["Attn" if heads else "" for heads in config.attention_heads]
    return {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": config.block_out_channels,
        "layers_per_block": config.layers_per_block,
        "down_block_types": tuple(f"{kind}DownBlock2D" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        "attention_head_dim": None if single else sizes.pop(),
        "resnet_time_scale_shift": "scale_shift" if config.scale_shift else "default",
        "attn_norm_num_groups": config.norm_num_groups,
        "num_class_embeds": config.classes or None,
        "norm_num_groups": config.norm_num_groups,
        "norm_eps": EPS,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    }
