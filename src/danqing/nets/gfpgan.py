"""GFPGAN: a face that was made poor, restored by a network that knows what faces look like.

A U-Net reads the poor face. What it understands chooses the styles of a StyleGAN2 that was trained on faces, and at
each resolution scales and shifts half of that network's channels, so that details are the prior's and the person is the
picture's. This is the "clean" form of the published versions 1.2 to 1.4, whose names it has. Source: Wang et al. 2021,
"Towards real-world blind face restoration with generative facial prior", section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .stylegan2 import SLOPE, Draw, modulated


@dataclass(frozen=True, kw_only=True)
class GFPGANConfig:
    """The shape of a `GFPGAN`.

    Args:
        resolution: R of the faces, a power of two from 8 pixels.
        w_dim: W of a style.
        channel_base, channel_max: the decoder has ``min(channel_base // r, channel_max)`` channels at resolution r, the
            U-Net half.
    """

    resolution: int = 512
    w_dim: int = 512
    channel_base: int = 32768
    channel_max: int = 512

    @property
    def resolutions(self) -> list[int]:
        """8, 16, .. R.

        Raises:
            InvalidInput: ``resolution`` is none of them.
        """
        doublings = self.resolution.bit_length() - 3
        if doublings < 1 or self.resolution != 4 << doublings:
            raise InvalidInput(f"resolution {self.resolution} was given; possible is a power of two from 8")
        return [8 << k for k in range(doublings)]

    @property
    def layers(self) -> int:
        """How many styles a face has: L."""
        return 2 * len(self.resolutions) + 2

    def channels(self, resolution: int) -> int:
        """Of the decoder; even, because half of them are left as they are.

        Raises:
            InvalidInput: they are not.
        """
        width = min(self.channel_base // resolution, self.channel_max)
        if width < 2 or width % 2:
            raise InvalidInput(f"{width} channels at {resolution} px have no halves: choose an even number from 2")
        return width


#: The published network.
FFHQ = GFPGANConfig()


def leaky(x: Tensor) -> Tensor:
    """``max(x, 0.2 x)``."""
    return F.leaky_relu(x, SLOPE)


def doubled(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W), bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def halved(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H/2, W/2), the mean of 2×2, which is what bilinear is here."""
    return F.avg_pool2d(x, 2)


# ---- the decoder ---------------------------------------------------------------------------------------------------


class ModulatedConv2d(nn.Module):
    """`danqing.nets.stylegan2.modulated` with an affine of its own: ``s = A w``.

    Args:
        channels, out_channels: C_in and C_out.
        w_dim: of the style.
        kernel: K, odd.
        demodulated: whether weights are scaled to unit norm.
    """

    def __init__(self, channels: int, out_channels: int, w_dim: int, kernel: int, *, demodulated: bool = True):
        super().__init__()
        self.demodulated = demodulated
        self.modulation = nn.Linear(w_dim, channels)
        self.weight = nn.Parameter(
            torch.randn(1, out_channels, channels, kernel, kernel) / math.sqrt(channels * kernel**2)
        )
        nn.init.kaiming_normal_(self.modulation.weight, nonlinearity="linear")
        nn.init.ones_(self.modulation.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, C_in, H, W), (B, W) -> (B, C_out, H, W)."""
        return modulated(x, self.weight[0], self.modulation(w), demodulated=self.demodulated)


class StyleConv(nn.Module):
    """``y = leaky(√2 conv(x; A w) + weight · noise + b)``, x enlarged before if ``up``.

    Args:
        channels, out_channels: C_in and C_out.
        w_dim: of the style.
        up: whether x has half of the resolution.
    """

    def __init__(self, channels: int, out_channels: int, w_dim: int, *, up: bool = False):
        super().__init__()
        self.up = up
        self.modulated_conv = ModulatedConv2d(channels, out_channels, w_dim, 3)
        self.weight = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """(B, C_in, H, W), (B, W), (1 or B, 1, R, R) -> (B, C_out, R, R)."""
        y = math.sqrt(2) * self.modulated_conv(doubled(x) if self.up else x, w)
        return leaky(y + self.weight * noise.to(y.dtype) + self.bias)


class ToRGB(nn.Module):
    """Colours: a modulated 1×1 convolution without demodulation.

    Args:
        channels: C.
        w_dim: of the style.
    """

    def __init__(self, channels: int, w_dim: int):
        super().__init__()
        self.modulated_conv = ModulatedConv2d(channels, 3, w_dim, 1, demodulated=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, C, H, W), (B, W) -> (B, 3, H, W)."""
        return self.modulated_conv(x, w) + self.bias


class Constant(nn.Module):
    """What the decoder begins with, (1, C, 4, 4).

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, 4, 4))


class Decoder(nn.Module):
    """A StyleGAN2 whose features are scaled and shifted from outside.

    ``[y_1, y_2] -> [y_1, a ⊙ y_2 + b]`` behind the first convolution of each resolution (section 3.4, CS-SFT).

    Args:
        config: of the whole network.
    """

    def __init__(self, config: GFPGANConfig):
        super().__init__()
        widths, w_dim = [config.channels(r) for r in (4, *config.resolutions)], config.w_dim
        self.constant_input = Constant(widths[0])
        self.style_conv1 = StyleConv(widths[0], widths[0], w_dim)
        self.to_rgb1 = ToRGB(widths[0], w_dim)
        self.style_convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for before, width in pairwise(widths):
            self.style_convs.extend([StyleConv(before, width, w_dim, up=True), StyleConv(width, width, w_dim)])
            self.to_rgbs.append(ToRGB(width, w_dim))
        for k, side in enumerate([4, *(r for r in config.resolutions for _ in range(2))]):
            self.noises.register_buffer(f"noise{k}", torch.randn(1, 1, side, side))

    def noise(self, k: int, like: Tensor, draw: Draw | None) -> Tensor:
        """Of the k-th convolution, (1 or B, 1, R, R): the constant of the weights, or drawn."""
        constant: Tensor = self.noises.get_buffer(f"noise{k}")
        return constant if draw is None else draw(like.new_empty(len(like), *constant.shape[1:]), k)

    def forward(self, ws: Tensor, bends: list[tuple[Tensor, Tensor]], draw: Draw | None) -> Tensor:
        """(B, L, W), (a, b) of each resolution (B, C/2, r, r) -> (B, 3, R, R)."""
        x = self.constant_input.weight.expand(len(ws), -1, -1, -1)
        x = self.style_conv1(x, ws[:, 0], self.noise(0, x, draw))
        picture = self.to_rgb1(x, ws[:, 1])
        for i, (scale, shift) in enumerate(bends):
            k = 2 * i + 1
            x = self.style_convs[k - 1](x, ws[:, k], self.noise(k, x, draw))
            same, bent = x.chunk(2, 1)
            x = torch.cat([same, bent * scale + shift], 1)
            x = self.style_convs[k](x, ws[:, k + 1], self.noise(k + 1, x, draw))
            picture = doubled(picture) + self.to_rgbs[i](x, ws[:, k + 2])
        return picture


# ---- the U-Net and the whole ---------------------------------------------------------------------------------------


class ResBlock(nn.Module):
    """``y = leaky(conv2(resize(leaky(conv1(x))))) + skip(resize(x))``, to half the resolution or to twice.

    Args:
        channels, out_channels: C_in and C_out.
        up: whether to twice.
    """

    def __init__(self, channels: int, out_channels: int, *, up: bool):
        super().__init__()
        self.resized = doubled if up else halved
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        return leaky(self.conv2(self.resized(leaky(self.conv1(x))))) + self.skip(self.resized(x))


def condition(channels: int) -> nn.Sequential:
    """What makes a scale or a shift of the U-Net's features, (B, C, r, r) -> (B, C, r, r)."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(channels, channels, 3, padding=1)
    )


class GFPGAN(nn.Module):
    """The restored face of a poor one.

    ``ws = W u_4;  a_r, b_r = conditions(u_r);  y = decoder(ws; a, b)``, u_r the features of the U-Net at resolution r.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: GFPGANConfig):
        super().__init__()
        self.config = config
        down = [config.channels(r) // 2 for r in reversed(config.resolutions)]  # of resolutions R, R/2, .. 8
        up, lowest = down[::-1], config.channels(4) // 2
        self.conv_body_first = nn.Conv2d(3, down[0], 1)
        self.conv_body_down = nn.ModuleList(
            ResBlock(a, b, up=False) for a, b in zip(down, [*down[1:], lowest], strict=True)
        )
        self.final_conv = nn.Conv2d(lowest, lowest, 3, padding=1)
        self.conv_body_up = nn.ModuleList(ResBlock(a, b, up=True) for a, b in zip([lowest, *up[:-1]], up, strict=True))
        self.final_linear = nn.Linear(16 * lowest, config.layers * config.w_dim)
        self.stylegan_decoder = Decoder(config)
        self.condition_scale = nn.ModuleList(condition(width) for width in up)
        self.condition_shift = nn.ModuleList(condition(width) for width in up)

    def forward(self, x: Tensor, *, noise: Draw | None = None) -> Tensor:
        """(B, 3, R, R) in [-1, 1] -> (B, 3, R, R), about [-1, 1].

        Args:
            noise: draws the noise of each of the decoder's convolutions; None is the constant noise of the weights,
                with which the same face is always restored to the same.

        Raises:
            InvalidInput: another size.
        """
        side = self.config.resolution
        if x.shape[1:] != (3, side, side):
            raise InvalidInput(
                f"a face of shape {list(x.shape[1:])} was given; this network restores [3, {side}, {side}]"
            )
        x = leaky(self.conv_body_first(x))
        skips: list[Tensor] = []
        for block in self.conv_body_down:
            x = block(x)
            skips.append(x)
        x = leaky(self.final_conv(x))  # (B, C, 4, 4)
        ws = self.final_linear(x.flatten(1)).unflatten(1, (self.config.layers, self.config.w_dim))
        bends: list[tuple[Tensor, Tensor]] = []
        for block, scale, shift in zip(self.conv_body_up, self.condition_scale, self.condition_shift, strict=True):
            x = block(x + skips.pop())
            bends.append((scale(x), shift(x)))
        return self.stylegan_decoder(ws, bends, noise)
