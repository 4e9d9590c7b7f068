"""The network of ESRGAN and Real-ESRGAN: an enlarged picture from dense blocks of convolutions, without any
normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput

#: How much of a block's answer is added to what went in (Wang et al. 2018, section 3.1), and the slope below zero.
RESIDUAL, SLOPE = 0.2, 0.2


@dataclass(frozen=True, kw_only=True)
class RRDBNetConfig:
    """The shape of an `RRDBNet`.

    Args:
        in_channels, out_channels: of the picture, before pixels are folded.
        channels: the width of the trunk.
        growth: how many channels each convolution of a dense block adds.
        blocks: residual-in-residual dense blocks.
        ups: how often the grid is doubled at the end.
        unshuffle: side of the pixel blocks that are folded into channels at the start, 1, 2 or 4.
    """

    in_channels: int = 3
    out_channels: int = 3
    channels: int = 64
    growth: int = 32
    blocks: int = 23
    ups: int = 2
    unshuffle: int = 1

    @property
    def scale(self) -> int:
        """How many times higher and wider the answer is."""
        return 2**self.ups // self.unshuffle

    @property
    def reach(self) -> int:
        """How far away, in pixels of the input, a pixel can matter for one of the answer: 1 for each 3×3 convolution
        of the trunk, 15 of which are in a block, and at most 2 for those of the finer grids."""
        return self.unshuffle * (15 * self.blocks + 4)


X4 = RRDBNetConfig()
X2 = RRDBNetConfig(unshuffle=2)
X1 = RRDBNetConfig(unshuffle=4)
#: Real-ESRGAN's for drawings.
X4_ANIME = RRDBNetConfig(blocks=6)


def leaky(x: Tensor) -> Tensor:
    """In place, for at the finest grid an activation is most of the memory; the gradient needs the answer's sign
    alone."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class DenseBlock(nn.Module):
    """Five convolutions, each of which reads all that came before it, around a weakened skip.

    ``x_k = leaky(conv_k([x, x_1, .., x_{k-1}])),  y = x + 0.2 conv_5([x, x_1, .., x_4])``.

    Args:
        channels: of input and output.
        growth: of each x_k.
    """

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(channels + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(channels + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(channels + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(channels + 4 * growth, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        features = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            features = torch.cat([features, leaky(conv(features))], 1)  # (B, C + k·growth, H, W)
        return x + RESIDUAL * self.conv5(features)


class RRDB(nn.Module):
    """Three dense blocks in a row around a weakened skip: ``y = x + 0.2 f_3(f_2(f_1(x)))``."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """An enlarged picture: a trunk of residual-in-residual dense blocks at the low resolution, then nearest doublings.

    ``h = conv_first(x);  h = h + conv_body(blocks(h));  h = leaky(conv_up(double(h))), ups times;
    y = conv_last(leaky(conv_hr(h)))``. Module names are those of Real-ESRGAN's files.
    Source: Wang et al. 2018 (ESRGAN), section 3.1; Wang et al. 2021 (Real-ESRGAN), section 3.3 (the folding of pixels).

    Args:
        config: the shape; `X4`, `X2`, `X1` and `X4_ANIME` are at hand.

    Raises:
        InvalidInput: the answer would be smaller than the picture.
    """

    def __init__(self, config: RRDBNetConfig):
        super().__init__()
        if config.scale < 1:
            made = f"folding blocks of {config.unshuffle}×{config.unshuffle} pixels and doubling {config.ups} times"
            raise InvalidInput(f"{made} makes a picture smaller: double more often")
        self.config = config
        width = config.channels
        self.conv_first = nn.Conv2d(config.in_channels * config.unshuffle**2, width, 3, padding=1)
        self.body = nn.ModuleList(RRDB(width, config.growth) for _ in range(config.blocks))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        for k in range(1, config.ups + 1):  # the published names are conv_up1, conv_up2
            self.add_module(f"conv_up{k}", nn.Conv2d(width, width, 3, padding=1))
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, config.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> (B, C_out, s·H, s·W), about [0, 1], s = ``config.scale``.

        Raises:
            InvalidInput: H or W is not a multiple of ``config.unshuffle``.
        """
        height, width = x.shape[-2:]
        fold = self.config.unshuffle
        if height % fold or width % fold:
            raise InvalidInput(
                f"a picture of {width}×{height} does not fit this network: use multiples of {fold} pixels"
            )
        h = self.conv_first(F.pixel_unshuffle(x, fold))  # (B, channels, H/fold, W/fold)
        trunk = h
        for block in self.body:
            trunk = block(trunk)
        h = h + self.conv_body(trunk)
        for k in range(1, self.config.ups + 1):
            h = F.interpolate(h, scale_factor=2, mode="nearest")
            h = leaky(self.get_submodule(f"conv_up{k}")(h))
        return self.conv_last(leaky(self.conv_hr(h)))
