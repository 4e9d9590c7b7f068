"""A small network that looks at a picture once and says where faces are: Tiny YOLO v2 of separable convolutions.

Source: Redmon & Farhadi 2017, "YOLO9000: better, faster, stronger", section 2; the layers and the five shapes are those
of face-api.js's TinyFaceDetector, whose weights it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Widths and heights, in cells, of the five shapes that each cell says something of.
SHAPES = ((1.603231, 2.094468), (6.041143, 7.080126), (2.882459, 3.518061), (4.266906, 5.178857), (9.041765, 10.66308))
#: The mean of the colours that it was trained on.
MEAN = (117.001 / 255, 114.697 / 255, 97.404 / 255)
#: How many pixels lie along a cell.
CELL = 32


@dataclass(frozen=True, kw_only=True)
class FaceFinderConfig:
    """The shape of a `FaceFinder`.

    Args:
        widths: of its layers; before each but the first the grid is halved.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)


class FaceFinder(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1], S a multiple of 32, to (B, 5, 5, S/32, S/32): of each of five shapes, in every
    cell, what `boxes` reads."""

    def __init__(self, config: FaceFinderConfig):
        super().__init__()
        self.config = config
        self.conv_in = nn.Conv2d(3, config.widths[0], 3)
        self.layers = nn.ModuleList(Separable(*widths) for widths in pairwise(config.widths))
        self.conv_out = nn.Conv2d(config.widths[-1], 5 * len(SHAPES), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv_in(pictures - mean_of(MEAN, pictures)), 0.1)
        for layer in self.layers:
            x = F.leaky_relu(layer(F.max_pool2d(x, 2, 2, ceil_mode=True)), 0.1)
        x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 2, 1)
        return self.conv_out(x).unflatten(1, (len(SHAPES), 5))


def boxes(said: Tensor) -> tuple[Tensor, Tensor]:
    """What the network says of one picture, (5, 5, h, w), to boxes (N, 4), left, top, right, bottom, in cells, and how
    sure each is, (N,).

    ``middle = cell + sigmoid(t_xy),  size = shape · exp(t_wh),  sure = sigmoid(t_o)``. Redmon & Farhadi 2017, section
    2, figure 3.
    """
    _, _, height, width = said.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    middle = torch.stack([columns, rows]).to(said) + said[:, :2].sigmoid()
    half = said.new_tensor(SHAPES)[:, :, None, None] * said[:, 2:4].exp() / 2
    return torch.cat([middle - half, middle + half], 1).movedim(1, -1).flatten(0, 2), said[:, 4].sigmoid().flatten()


class Separable(nn.Sequential):
    """A 3×3 convolution of each channel by itself, then a 1×1 of all: Howard et al. 2017, MobileNets, section 3.1."""

    def __init__(self, channels: int, out_channels: int):
        depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        super().__init__(depthwise, nn.Conv2d(channels, out_channels, 1))


def mean_of(colour: tuple[float, float, float], like: Tensor) -> Tensor:
    """A colour as a picture of one pixel, (3, 1, 1)."""
    return like.new_tensor(colour)[:, None, None]
