"""CycleGAN's two networks: a residual generator that redraws a picture, and a discriminator that looks at patches of
it.

The names are those of junyanz/pytorch-CycleGAN-and-pix2pix: numbers in one list. Source: Zhu et al. 2017, "Unpaired
image-to-image translation using cycle-consistent adversarial networks", section 7.2; for the patches Isola et al. 2017,
section 6.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput

#: How often the generator halves the grid before its blocks, and the slope of the discriminator below zero.
HALVINGS, SLOPE = 2, 0.2


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig:
    """The shape of a `CycleGAN`.

    Args:
        in_channels, out_channels: of the two pictures.
        channels: of the finest grid; four times as many are in the blocks.
        blocks: residual ones: 6 for pictures of 128 px, 9 from 256 px.
    """

    in_channels: int = 3
    out_channels: int = 3
    channels: int = 64
    blocks: int = 9


@dataclass(frozen=True, kw_only=True)
class PatchGANConfig:
    """The shape of a `PatchGAN`.

    Args:
        in_channels: of the picture.
        channels: of the first layer.
        halvings: layers of stride 2, at least one; two of stride 1 follow.
    """

    in_channels: int = 3
    channels: int = 64
    halvings: int = 3

    @property
    def patch(self) -> int:
        """The side of the patch that one logit sees, in pixels: 7 on the coarsest grid, and r -> 2 r + 2 with each
        halving."""
        return 9 * 2**self.halvings - 2


HORSE2ZEBRA = CycleGANConfig()
PATCH_70 = PatchGANConfig()
#: For pictures of 64 px on a CPU.
MINI = CycleGANConfig(channels=32, blocks=6)
PATCH_34 = PatchGANConfig(channels=32, halvings=2)


class Reflection(torch.autograd.Function):
    """Borders that mirror the picture, whose last pixels are not repeated: `F.pad` of mode "reflect", and a backward
    pass that adds the borders to what they mirror as blocks, where `F.pad`'s own takes a pixel at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: int) -> Tensor:  # type: ignore[override]
        ctx.width = width
        return F.pad(x, (width,) * 4, mode="reflect")

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return folded(folded(g, ctx.width, 2), ctx.width, 3), None


def folded(g: Tensor, width: int, side: int) -> Tensor:
    """Along one side, the transpose of mirroring ``width`` pixels at both of its ends."""
    inner = g.shape[side] - 2 * width
    first, middle, last = g.split((width, inner, width), side)
    whole = middle.clone(memory_format=torch.contiguous_format)
    whole.narrow(side, 1, width).add_(first.flip(side))
    whole.narrow(side, inner - 1 - width, width).add_(last.flip(side))
    return whole


class Reflect(nn.Module):
    """`Reflection` of ``width`` pixels on each side."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + 2 width, W + 2 width)."""
        return Reflection.apply(x, self.width)  # type: ignore[no-any-return]


def initialised(module: nn.Module) -> None:
    """Convolutions as N(0, 0.02²), their biases zero (section 7.2)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ResnetBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv x))))`` with reflected borders.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            Reflect(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            Reflect(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x + self.conv_block(x)


class CycleGAN(nn.Module):
    """A picture redrawn: two halvings, residual blocks, two doublings.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: CycleGANConfig):
        super().__init__()
        self.config = config
        widths = [config.channels << k for k in range(HALVINGS + 1)]
        layers: list[nn.Module] = [Reflect(3), *normed(nn.Conv2d(config.in_channels, widths[0], 7))]
        for channels, out_channels in pairwise(widths):
            layers += normed(nn.Conv2d(channels, out_channels, 3, stride=2, padding=1))
        layers += [ResnetBlock(widths[-1]) for _ in range(config.blocks)]
        for channels, out_channels in pairwise(widths[::-1]):
            layers += normed(nn.ConvTranspose2d(channels, out_channels, 3, stride=2, padding=1, output_padding=1))
        self.model = nn.Sequential(*layers, Reflect(3), nn.Conv2d(widths[0], config.out_channels, 7), nn.Tanh())
        self.apply(initialised)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) in [-1, 1] -> (B, C_out, H, W) in [-1, 1].

        Raises:
            InvalidInput: H or W is no multiple of 4.
        """
        height, width = x.shape[-2:]
        if height % (1 << HALVINGS) or width % (1 << HALVINGS):
            raise InvalidInput(
                f"a picture of {width}×{height} does not fit this network: use multiples of {1 << HALVINGS} pixels"
            )
        return self.model(x)


def normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution, its instance norm and a ReLU."""
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU()]


class PatchGAN(nn.Module):
    """One logit for each patch of the picture, not for the whole.

    Args:
        config: the network's shape.
    """

    def __init__(self, config: PatchGANConfig):
        super().__init__()
        self.config = config
        widths = [config.channels * min(1 << k, 8) for k in range(config.halvings + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(config.in_channels, widths[0], 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
        ]
        for k, (channels, out_channels) in enumerate(pairwise(widths), 1):
            convolution = nn.Conv2d(channels, out_channels, 4, stride=2 if k < config.halvings else 1, padding=1)
            layers += [convolution, nn.InstanceNorm2d(out_channels), nn.LeakyReLU(SLOPE)]
        self.model = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.apply(initialised)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> (B, 1, H', W'), H' = H / 2^halvings - 2."""
        return self.model(x)
