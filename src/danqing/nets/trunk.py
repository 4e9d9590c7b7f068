"""What UNets share: the stages, the way down and the middle as a part (`Trunk`), and the way back up (`Backbone`).

The axis that varies is which layers stand at a level; a network says it by the methods `resnet`, `attention` and
`downsample`. A control network copies the trunk of the network that it steers, and has no way up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import Downsample, Upsample
from .operations import Activated
from .ports import NO_RESIDUALS, NOTHING, Context, Residuals


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """What the shapes of all UNets say. Per-level tuples run from the finest grid to the coarsest.

    Args:
        in_channels, out_channels: of what is read and written.
        block_out_channels: one width a level; each level but the last halves the grid.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
    """

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2

    @property
    def time_channels(self) -> int:
        """E of the embedding of time."""
        return 4 * self.block_out_channels[0]

    @property
    def skip_channels(self) -> tuple[int, ...]:
        """Channels of every skip, in the order in which they are left."""
        *widths, last = ([width] * self.layers_per_block for width in self.block_out_channels)
        return (self.block_out_channels[0], *(n for level in widths for n in (*level, level[0])), *last)

    @property
    def skips(self) -> int:
        """How many skips there are, and so how many residuals port 1 takes."""
        return len(self.block_out_channels) * (self.layers_per_block + 1)


def angles(values: Tensor, count: int, intervals: int) -> Tensor:
    """``v 10000^(-i / intervals)`` for i < count: (N,) -> (N, count), in at least float32."""
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    steps = torch.arange(count, dtype=values.dtype, device=values.device)
    return values[:, None] * torch.exp(steps * (-math.log(10000.0) / intervals))


def sinusoid(values: Tensor, dim: int) -> Tensor:
    """Cosines and sines of ``values`` at geometrically falling frequencies, (N,) -> (N, dim), in at least float32.

    ``f_i = 10000^(-i / (dim/2));  [cos(v f_0), …, sin(v f_0), …]``. Source: Vaswani et al. 2017, section 3.5.
    """
    turns = angles(values, dim // 2, dim // 2)
    return torch.cat([turns.cos(), turns.sin()], dim=1)


class Embedding(nn.Module):
    """``W_2 silu(W_1 v)``: of time, or of the pooled conditioning, (B, C) -> (B, E)."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.linear_1 = nn.Linear(channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)

    def forward(self, v: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(v)))


class Same(nn.Module):
    """The layer that changes nothing: it stands where a level has no attention."""

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        return x


class Stage(nn.Module):
    """Steps at one resolution: a residual block, its attention, and whatever was inserted after them (port 2).

    Args:
        resnets: the residual block of each step.
        attentions: what stands behind it, (x, ctx) -> x; `Same` where nothing does.
    """

    def __init__(self, resnets: list[nn.Module], attentions: list[nn.Module]):
        super().__init__()
        self.resnets, self.attentions = nn.ModuleList(resnets), nn.ModuleList(attentions)
        self.inserted = nn.ModuleList(nn.ModuleDict() for _ in resnets)

    def step(self, i: int, x: Tensor, ctx: Context) -> Tensor:
        """(B, C_i, H, W) -> (B, C_{i+1}, H, W): the i-th residual block, its attention, the inserted layers."""
        x = self.attentions[i](self.resnets[i](x, ctx), ctx)
        for layer in cast(nn.ModuleDict, self.inserted[i]).values():
            x = layer(x, ctx)
        return x


class Down(Stage):
    """The way down at one level; every step leaves a skip, and so does what halves the grid, at every level but the
    last."""

    def __init__(self, resnets: list[nn.Module], attentions: list[nn.Module], halving: Downsample | None):
        super().__init__(resnets, attentions)
        self.downsamplers = nn.ModuleList([halving] if halving else [])

    def forward(self, x: Tensor, skips: list[Tensor], ctx: Context) -> Tensor:
        """(B, C, H, W) -> (B, C', H/2, W/2), or H, W at the last level; appends to ``skips``."""
        for i in range(len(self.resnets)):
            x = self.step(i, x, ctx)
            skips.append(x)
        for layer in self.downsamplers:
            x = layer(x, ctx)
            skips.append(x)
        return x


class Mid(Stage):
    """The middle, at the coarsest resolution."""

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for i in range(len(self.resnets)):
            x = self.step(i, x, ctx)
        return x


class Up(Stage):
    """The way up at one level; every step reads the latest skip left, and at every level but the last the grid is
    doubled."""

    def __init__(self, resnets: list[nn.Module], attentions: list[nn.Module], doubling: Upsample | None):
        super().__init__(resnets, attentions)
        self.upsamplers = nn.ModuleList([doubling] if doubling else [])

    def forward(self, x: Tensor, skips: list[Tensor], ctx: Context) -> Tensor:
        """(B, C, H, W) -> (B, C', 2H, 2W), or H, W at the last level; takes from the end of ``skips``."""
        for i in range(len(self.resnets)):
            x = self.step(i, torch.cat([x, skips.pop()], dim=1), ctx)
        return self.upsampled(x, skips, ctx)

    def upsampled(self, x: Tensor, skips: list[Tensor], ctx: Context) -> Tensor:
        """The grid doubled, at every level but the last; ``skips`` are those that are left."""
        for layer in self.upsamplers:
            # The next skip knows the size: it is not twice ours where a height or width was odd on the way down.
            x = layer(x, ctx, tuple(skips[-1].shape[-2:]))
        return x


class Trunk(nn.Module):
    """The way down of a UNet and its middle.

    Module names are those of diffusers' UNets and of their ControlNets.

    Args:
        config: the shape.
    """

    def __init__(self, config: TrunkConfig):
        super().__init__()
        self.config = config
        widths = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = Embedding(self.time_features, config.time_channels)
        self.make_embeddings()
        self.down_blocks = nn.ModuleList()
        for level, (before, width) in enumerate(pairwise((widths[0], *widths))):
            layers = self.layers(level, [before, *[width] * (config.layers_per_block - 1)], width)
            self.down_blocks.append(Down(*layers, self.downsample(width) if level < len(widths) - 1 else None))
        self.mid_block = self.middle(widths[-1])

    def resnet(self, channels: int, out_channels: int) -> nn.Module:
        """A residual block, (B, C, H, W) -> (B, C_out, H, W)."""
        raise NotImplementedError

    def attention(self, level: int, width: int) -> nn.Module:
        """What stands after a residual block of a level; the middle is the level after the last."""
        raise NotImplementedError

    def middle(self, width: int) -> Mid:
        """What stands at the coarsest resolution."""
        resnets = [self.resnet(width, width) for _ in range(2)]
        return Mid(resnets, [self.attention(len(self.config.block_out_channels), width), Same()])

    def downsample(self, width: int) -> Downsample:
        """What halves the grid."""
        return Downsample(width)

    def layers(self, level: int, reads: Sequence[int], width: int) -> tuple[list[nn.Module], list[nn.Module]]:
        """The residual blocks of a level by the channels that they read, and what stands behind each."""
        return [self.resnet(channels, width) for channels in reads], [self.attention(level, width) for _ in reads]

    @property
    def time_features(self) -> int:
        """The width of ``features``."""
        return self.config.block_out_channels[0]

    def features(self, time: Tensor) -> Tensor:
        """What the embedding of time reads, (B,) -> (B, time_features), in at least float32."""
        return sinusoid(time, self.time_features)

    def make_embeddings(self) -> None:
        """Make what embeds anything beside time."""

    def embed(self, x: Tensor, time: Tensor, pooled: Tensor | None) -> Tensor:
        """The embedding of time, and of anything beside it, (B, E), in the dtype of x.

        The features are computed in at least float32: bfloat16 cannot tell time 999 from 1000.
        """
        return self.time_embedding(self.features(time).to(x.dtype))

    def enter(self, x: Tensor, ctx: Context) -> Tensor:
        """What the first level reads, (B, C_in, H, W) -> (B, C_0, H, W)."""
        return self.conv_in(x)

    def down(self, x: Tensor, ctx: Context) -> tuple[Tensor, list[Tensor]]:
        """(B, C_in, H, W) -> the middle, and the ``config.skips`` skips in the order in which they are left."""
        x = self.enter(x, ctx)
        skips = [x]
        for stage in self.down_blocks:
            x = stage(x, skips, ctx)
        return self.mid_block(x, ctx), skips


class Backbone(Trunk):
    """A trunk and the way back up to the grid that was read.

    Source: Ronneberger et al. 2015.
    """

    def __init__(self, config: TrunkConfig):
        super().__init__(config)
        widths, skips = config.block_out_channels, list(config.skip_channels)
        before = widths[-1]
        self.up_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            reads = [(width if j else before) + skips.pop() for j in range(config.layers_per_block + 1)]
            self.up_blocks.append(Up(*self.layers(level, reads, width), Upsample(width) if level else None))
            before = width
        self.conv_norm_out = self.norm(widths[0])
        self.activated = Activated()
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def norm(self, width: int) -> nn.Module:
        """The norm before the last convolution."""
        raise NotImplementedError

    def read(self, x: Tensor, pooled: Tensor | None, extra: Mapping[str, Tensor]) -> Tensor:
        """What the first convolution reads: x itself, and whatever a network puts beside it."""
        return x

    def check(self, x: Tensor, tokens: Tensor | None) -> None:
        """Refuse what does not fit the configuration."""

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        tokens: Tensor | None = None,
        *,
        pooled: Tensor | None = None,
        extra: Mapping[str, Tensor] = NOTHING,
        residuals: Residuals = NO_RESIDUALS,
    ) -> Tensor:
        """The network's raw output (what it means is the Denoiser's business), (B, C_out, H, W).

        Args:
            x: (B, C_in, H, W).
            time: (B,), in the units of the published schedule.
            tokens: (B, L, D), L >= 1, for a network that reads text; others do not read them.
            pooled: (B, P), for a network that reads it; others do not.
            extra: tensors for adapters.
            residuals: port 1; ``down`` has ``config.skips`` entries or none.

        Raises:
            InvalidInput: a shape or the number of residuals does not match the configuration.
        """
        x = self.read(x, pooled, extra)
        self.check(x, tokens)
        ctx = Context(time=self.embed(x, time, pooled), tokens=tokens, extra=extra)
        return self.conv_out(self.activated(self.conv_norm_out, self.body(x, ctx, residuals)))

    def body(self, x: Tensor, ctx: Context, residuals: Residuals) -> Tensor:
        """Port 5: all levels, (B, C_in, H, W) -> (B, C_0, H, W)."""
        x, skips = add_residuals(*self.down(x, ctx), residuals)
        for stage in self.up_blocks:
            x = stage(x, skips, ctx)
        return x


def add_residuals(mid: Tensor, skips: list[Tensor], residuals: Residuals) -> tuple[Tensor, list[Tensor]]:
    """Port 1: the middle and the skips with the residuals added; the empty `Residuals` computes nothing.

    Raises:
        InvalidInput: there are residuals for the skips, but not one for each.
    """
    check_residuals(residuals, len(skips))
    if residuals.down:
        skips = [skip + residual for skip, residual in zip(skips, residuals.down, strict=True)]
    return (mid if residuals.mid is None else mid + residuals.mid), skips


def check_residuals(residuals: Residuals, skips: int) -> None:
    """Refuse residuals for another number of skips.

    Raises:
        InvalidInput: there are residuals for the skips, but not one for each.
    """
    if len(residuals.down) not in (0, skips):
        raise InvalidInput(f"{len(residuals.down)} residuals for {skips} skips: give one for each skip, or none")
