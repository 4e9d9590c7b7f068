"""A small restorer of faces: a U-Net that says what is to be added to a poor picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import Downsample, ResnetBlock, Upsample


@dataclass(frozen=True, kw_only=True)
class RestorerConfig:
    """The shape of a `Restorer`.

    Args:
        resolution: R, at which faces are restored; any that is halved often enough goes through the network.
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


#: For drawn portraits of 128 px.
MINI = RestorerConfig()


class Restorer(nn.Module):
    """``y = x + out(U(x))``, and at first y = x, since ``out`` begins with zeros.

    Source: Ronneberger et al. 2015; He et al. 2016 as to what is added.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: RestorerConfig):
        super().__init__()
        self.config = config
        widths, groups, eps = config.widths, config.norm_num_groups, 1e-5
        folded = 3 * config.patch**2
        self.conv_in = nn.Conv2d(folded, widths[0], 3, padding=1)
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
        self.conv_out = nn.Conv2d(width, folded, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 3, H, W).

        Raises:
            InvalidInput: a side that is not halved often enough without a rest.
        """
        multiple = self.config.patch << (len(self.config.widths) - 1)
        if x.shape[-2] % multiple or x.shape[-1] % multiple:
            raise InvalidInput(
                f"a face of {x.shape[-1]}×{x.shape[-2]} was given; possible are multiples of {multiple} pixels"
            )
        h = self.conv_in(nn.functional.pixel_unshuffle(x, self.config.patch))  # (B, 3p², H/p, W/p)
        skips: list[Tensor] = []
        for level in self.down:
            h = level(h)
            skips.append(h)
        for level in self.up:
            h = level(torch.cat([h, skips.pop()], 1))
        h = self.conv_out(nn.functional.silu(self.norm_out(h)))
        return x + nn.functional.pixel_shuffle(h, self.config.patch)
