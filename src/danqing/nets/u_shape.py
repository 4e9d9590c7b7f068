"""A small U-Net over folded pixels, without what is read from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .blocks import Downsample, ResnetBlock, Upsample


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """The shape of a `UShape`.

    Args:
        resolution: R, what it learned at; any that is halved often enough goes through the network.
        widths: channels of each level, from the resolution down; each level has half of it.
        layers_per_block: residual blocks of a level, down and up.
        patch: pixels along a side that are folded into channels before the first level.
        norm_num_groups: of the group norms; divides all widths.
    """

    resolution: int = 128
    widths: tuple[int, ...] = (32, 48, 80, 128)
    layers_per_block: int = 2
    patch: int = 2
    norm_num_groups: int = 8


class UShape(nn.Module):
    """The residual levels of a U-Net, from folded pixels down and back up, without what is read from them.

    Source: Ronneberger et al. 2015.

    Args:
        config: its shape.
    """

    def __init__(self, config: ShapeConfig):
        super().__init__()
        widths, groups, eps = config.widths, config.norm_num_groups, 1e-5
        self.patch, self.multiple = config.patch, config.patch << (len(widths) - 1)
        self.conv_in = nn.Conv2d(3 * config.patch**2, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width = widths[0]
        for i, wide in enumerate(widths):
            level = nn.Sequential(*([Downsample(width)] if i else []))
            for _ in range(config.layers_per_block):
                level.append(ResnetBlock(width, wide, groups=groups, eps=eps))
                width = wide
            self.down.append(level)
        for i, wide in reversed(list(enumerate(widths))):
            level = nn.Sequential(*[ResnetBlock(width + wide, wide, groups=groups, eps=eps)])
            level.extend(ResnetBlock(wide, wide, groups=groups, eps=eps) for _ in range(config.layers_per_block - 1))
            if i:
                level.append(Upsample(wide))
            self.up.append(level)
            width = wide
        self.norm_out = nn.GroupNorm(groups, width, eps)

    def levels(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), sides multiples of `multiple` -> (B, C, H/p, W/p)."""
        h = self.conv_in(nn.functional.pixel_unshuffle(x, self.patch))  # (B, 3p², H/p, W/p)
        skips: list[Tensor] = []
        for level in self.down:
            h = level(h)
            skips.append(h)
        for level in self.up:
            h = level(torch.cat([h, skips.pop()], 1))
        return nn.functional.silu(self.norm_out(h))
