"""What a picture is, as a short vector: the features in which the quality of painted pictures is measured
(`danqing.learn.measures.quality`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import Downsample, ResnetBlock

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """The shape of `Features`.

    Args:
        image_size: S, the side of the pictures.
        patch: side of the pixel blocks that are folded into channels.
        widths: one a level, finest first; each level but the last halves the grid.
        norm_num_groups: divides every width.
        texture: of how many of the finest levels the features' spread is read, for that is where line and texture are.
        features: D, how many numbers stand for a picture.
    """

    image_size: int = 64
    patch: int = 2
    widths: tuple[int, ...] = (32, 64, 96, 128)
    norm_num_groups: int = 8
    texture: int = 2
    features: int = 64


#: The network that ships: 0.6M parameters. Few features, so that the covariance of some hundred pictures is well known.
ART = FeatureConfig()


def deviation(grid: Tensor) -> Tensor:
    """How far each channel spreads over a grid, ``sqrt(var + 1e-4)``: (B, C, h, w) -> (B, C) in float32."""
    return (grid.float().flatten(2).var(2) + 1e-4).sqrt()


class Features(nn.Module):
    """A picture's features: (B, 3, S, S) in [-1, 1] -> (B, D), each row of mean 0 and variance 1.

    ``f = norm(W [mean of the coarsest grid, deviations over the texture levels' grids])``. Their length is sqrt D
    whatever the network
    is, so distances have a scale: two pictures without relation are sqrt(2 D) apart.

    Raises:
        InvalidInput: pictures of another size.
    """

    def __init__(self, config: FeatureConfig = ART):
        super().__init__()
        self.config = config
        widths, groups = config.widths, config.norm_num_groups
        self.conv_in = nn.Conv2d(3 * config.patch**2, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            ResnetBlock(before, width, groups=groups, eps=EPS)
            for before, width in zip((widths[0], *widths), widths, strict=False)
        )
        self.downs = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.out = nn.Linear(widths[-1] + sum(widths[: config.texture]), config.features)

    def forward(self, picture: Tensor) -> Tensor:
        side = self.config.image_size
        if picture.shape[1:] != (3, side, side):
            raise InvalidInput(
                f"features are read from pictures of shape (3, {side}, {side}), not {tuple(picture.shape[1:])}"
            )
        return self.read(list(self.grids(picture)))

    def read(self, grids: Sequence[Tensor]) -> Tensor:
        """The features of what `grids` gives: -> (B, D)."""
        means = F.silu(self.norm_out(grids[-1])).float().mean((2, 3))
        deviations = map(deviation, grids[: self.config.texture])
        return F.layer_norm(self.out(torch.cat([means, *deviations], 1)).float(), (self.config.features,))

    def grids(self, picture: Tensor) -> Iterator[Tensor]:
        """What each level makes of a picture, which may be of any size that halves so often: (B, 3, H, W) -> (B,
        widths[i], h, w), h = H / (2^i p)."""
        x = self.conv_in(F.pixel_unshuffle(picture, self.config.patch))
        for level, down in zip(self.levels, (*self.downs, nn.Identity()), strict=True):
            x = level(x)
            yield x
            x = down(x)
