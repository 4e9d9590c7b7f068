"""A small network that says how near things are: a U-Net over folded pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .u_shape import ShapeConfig, UShape


@dataclass(frozen=True, kw_only=True)
class DepthUNetConfig(ShapeConfig):
    """The shape of a `DepthUNet`."""

    resolution: int = 96
    widths: tuple[int, ...] = (32, 56, 88, 112)
    layers_per_block: int = 1
    patch: int = 4


class DepthUNet(UShape):
    """How near each pixel is: 1 / depth, moved and scaled so that the farthest of a picture is 0 and the nearest 1.

    Source: `UShape`; Ranftl et al. 2020, section 5, as to why the inverse is learned.

    Args:
        config: its shape.
    """

    def __init__(self, config: DepthUNetConfig):
        super().__init__(config)
        self.config = config
        self.conv_depth = nn.Conv2d(config.widths[0], config.patch**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], of any size -> (B, 1, H, W), about [0, 1]."""
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        return F.pixel_shuffle(self.conv_depth(self.levels(padded)), self.patch)[..., :height, :width]
