"""Whose face it is, as 128 numbers: those of one person lie close to each other.

Source: He et al. 2016, "Deep residual learning for image recognition", section 3, as in dlib's face recognition model
(King 2017), whose layers and weights are those of face-api.js's FaceRecognitionNet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .face_finder import mean_of
from .face_landmarks import MEAN


@dataclass(frozen=True, kw_only=True)
class FaceRecogniserConfig:
    """The shape of a `FaceRecogniser`.

    Args:
        widths: of its levels.
        depths: residual blocks of each; the first one of each level but the first halves the grid, and so does one more
            at the end.
        numbers: F that a face becomes.
        size: pixels along the side of what it is shown.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (3, 4, 3, 3)
    numbers: int = 128
    size: int = 150


class Scale(nn.Module):
    """``w x + c`` of each channel: (B, C, H, W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x + self.bias


class Scaled(nn.Module):
    """A convolution of which each channel is scaled: (B, C, H, W) -> (B, C', h, w). One that leaves out places pads
    nothing."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
        self.scale = Scale(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(self.conv(x))


class Block(nn.Module):
    """``relu(x + f(x))``; where it halves the grid x is pooled, its new channels zero, and so is what f leaves open."""

    def __init__(self, channels: int, out_channels: int, *, halves: bool):
        super().__init__()
        self.conv1 = Scaled(channels, out_channels, stride=2 if halves else 1)
        self.conv2 = Scaled(out_channels, out_channels)
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.halves:
            x = F.avg_pool2d(x, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(x + y)


class FaceRecogniser(nn.Module):
    """Faces (B, 3, S, S) in [0, 1] to numbers (B, F)."""

    def __init__(self, config: FaceRecogniserConfig):
        super().__init__()
        self.config = config
        widths = config.widths
        self.conv_in = Scaled(3, widths[0], 7, 2)
        blocks = list[Block]()
        for level, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            for i in range(depth):
                halves = level > 0 and i == 0
                blocks.append(Block(widths[level - 1] if halves else width, width, halves=halves))
        self.blocks = nn.ModuleList([*blocks, Block(widths[-1], widths[-1], halves=True)])
        self.linear = nn.Linear(widths[-1], config.numbers, bias=False)

    def forward(self, faces: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv_in(faces - mean_of(MEAN, faces))), 3, 2)
        for block in self.blocks:
            x = block(x)
        return self.linear(x.mean((2, 3)))
