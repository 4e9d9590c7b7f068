"""Sixty-eight points of a face that fills a picture: its outline, brows, nose, eyes and mouth.

Source: Huang et al. 2017, "Densely connected convolutional networks", section 3, whose layers are added here rather
than laid side by side, of separable convolutions; the layers are those of face-api.js's FaceLandmark68Net, whose
weights it reads. The points are numbered as in the iBUG 300-W set.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .face_finder import Separable, mean_of

#: How many points there are.
POINTS = 68
#: The mean of the colours that faces were shown with.
MEAN = (122.782 / 255, 117.001 / 255, 104.298 / 255)


@dataclass(frozen=True, kw_only=True)
class FaceLandmarksConfig:
    """The shape of `FaceLandmarks`.

    Args:
        widths: of its blocks, each of which halves the grid.
        size: pixels along the side of what it is shown: 7 in the last block.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    size: int = 112


class Dense(nn.Module):
    """Four convolutions, each of which reads the sum of what all before it say: (B, C, 2h, 2w) -> (B, C', h, w).

    Args:
        first: which halves the grid.
        width: C'.
    """

    def __init__(self, first: nn.Module, width: int):
        super().__init__()
        self.first = first
        self.more = nn.ModuleList(Separable(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = total = F.relu(self.first(x))
        for layer in self.more:
            total = total + layer(x)
            x = F.relu(total)
        return x


class Halving(Separable):
    """A separable convolution at every second place: (B, C, 2h, 2w) -> (B, C', h, w)."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__(channels, out_channels)
        self[0] = nn.Conv2d(channels, channels, 3, stride=2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class FaceLandmarks(nn.Module):
    """Faces (B, 3, S, S) in [0, 1] to points (B, 68, 2), x and y from 0 to 1 along the sides."""

    def __init__(self, config: FaceLandmarksConfig):
        super().__init__()
        self.config = config
        firsts = nn.Conv2d(3, config.widths[0], 3, stride=2), *(Halving(*widths) for widths in pairwise(config.widths))
        self.blocks = nn.ModuleList(map(Dense, firsts, config.widths))
        self.linear = nn.Linear(config.widths[-1], 2 * POINTS)

    def forward(self, faces: Tensor) -> Tensor:
        x = F.pad(faces - mean_of(MEAN, faces), (0, 1, 0, 1))
        for block in self.blocks:
            x = block(x)
        return self.linear(x.mean((2, 3))).unflatten(1, (POINTS, 2))
