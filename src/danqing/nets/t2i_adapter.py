"""T2I-Adapters: a small network that turns a hint, once a picture, into what a UNet's levels add to their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

#: By how much an adapter for XL unshuffles the hint: its first grid is half as fine as the latent.
XL_FACTOR = 16


@dataclass(frozen=True, kw_only=True)
class T2IAdapterConfig:
    """The shape of a `T2IAdapter`.

    Args:
        in_channels: of the hint, 1 for grey ones.
        channels: of what each level adds; the coarser of a UNet's levels last.
        num_res_blocks: residual blocks a level.
        downscale_factor: of the first grid; `XL_FACTOR` in those for XL, where one level alone halves it again.
        light: blocks are a quarter as wide.
    """

    in_channels: int = 3
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    num_res_blocks: int = 2
    downscale_factor: int = 8
    light: bool = False

    @property
    def halving(self) -> tuple[int, ...]:
        """The levels that halve the grid first."""
        return (2,) if self.downscale_factor == XL_FACTOR else tuple(range(1, len(self.channels)))


class Residual(nn.Module):
    """``x + W_2 relu(W_1 x)``; (B, C, H, W) -> the same."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.block1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.block2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block2(F.relu(self.block1(x)))


class Level(nn.Module):
    """Residual blocks at one resolution; (B, C, H, W) -> (B, C', H, W) or, halving, (B, C', ⌈H/2⌉, ⌈W/2⌉)."""

    def __init__(self, channels: int, out_channels: int, *, halving: bool, config: T2IAdapterConfig):
        super().__init__()
        width = out_channels // 4 if config.light else out_channels
        self.halving = halving
        self.in_conv = nn.Conv2d(channels, width, 1) if config.light or channels != width else nn.Identity()
        blocks = (Residual(width, 3 if config.light else 1) for _ in range(config.num_res_blocks))
        self.resnets = nn.Sequential(*blocks)
        self.out_conv = nn.Conv2d(width, out_channels, 1) if config.light else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2, ceil_mode=True) if self.halving else x
        return self.out_conv(self.resnets(self.in_conv(x)))


class Levels(nn.Module):
    """All levels, from a hint whose squares of pixels lie in its channels."""

    def __init__(self, config: T2IAdapterConfig):
        super().__init__()
        first = config.in_channels * config.downscale_factor**2
        self.conv_in = nn.Identity() if config.light else nn.Conv2d(first, config.channels[0], 3, padding=1)
        reads = (first if config.light else config.channels[0], *config.channels[:-1])
        pairs = enumerate(zip(reads, config.channels, strict=True))
        self.body = nn.ModuleList(Level(*pair, halving=i in config.halving, config=config) for i, pair in pairs)


class T2IAdapter(nn.Module):
    """What a hint adds to each level of a UNet.

    Module names are those of diffusers' `T2IAdapter`.
    Source: Mou et al. 2023.

    Args:
        config: the shape.
    """

    def __init__(self, config: T2IAdapterConfig):
        super().__init__()
        self.config = config
        self.adapter = Levels(config)

    def forward(self, hint: Tensor) -> list[Tensor]:
        """(B, C_hint, H, W), 0 to 1 -> for each level (B, C_i, H_i, W_i), the finest first.

        A height or width that the first grid does not divide goes on as its edge.
        """
        factor = self.config.downscale_factor
        height, width = hint.shape[-2:]
        hint = F.pad(hint, (0, -width % factor, 0, -height % factor), mode="replicate")
        x = cast(Any, self.adapter.conv_in)(F.pixel_unshuffle(hint, factor))
        found: list[Tensor] = []
        for level in self.adapter.body:
            x = level(x)
            found.append(x)
        return found


def diffusers_arguments(config: T2IAdapterConfig) -> dict[str, Any]:
    """The keyword arguments of diffusers' `T2IAdapter` of the same weights."""
    xl = config.downscale_factor == XL_FACTOR
    kind = "light_adapter" if config.light else "full_adapter_xl" if xl else "full_adapter"
    # A light one's last width counts twice there.
    channels = list(config.channels[:-1] if config.light else config.channels)
    return {
        "in_channels": config.in_channels,
        "channels": channels,
        "num_res_blocks": config.num_res_blocks,
        "downscale_factor": config.downscale_factor,
        "adapter_type": kind,
    }
