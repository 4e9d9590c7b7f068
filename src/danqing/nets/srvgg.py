"""Real-ESRGAN's small network: a plain row of convolutions that adds detail to the nearest pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class SRVGGNetCompactConfig:
    """The shape of an `SRVGGNetCompact`.

    Args:
        in_channels, out_channels: of the picture; the same number, or 1 to read.
        channels: the width of the row.
        convolutions: between the first and the last.
        scale: how many times higher and wider the answer is.
    """

    in_channels: int = 3
    out_channels: int = 3
    channels: int = 64
    convolutions: int = 16
    scale: int = 4

    @property
    def reach(self) -> int:
        """How far away, in pixels of the input, a pixel can matter for one of the answer."""
        return self.convolutions + 2

    @property
    def unshuffle(self) -> int:
        """No pixels are folded: any size fits."""
        return 1


#: realesr-animevideov3, and realesr-general-x4v3.
VIDEO, GENERAL = SRVGGNetCompactConfig(), SRVGGNetCompactConfig(convolutions=32)


class SRVGGNetCompact(nn.Module):
    """Convolutions at the low resolution; their channels, unfolded into pixels, are added to the enlarged picture.

    ``y = nearest(x) + pixel_shuffle(conv_{n+2}(prelu(conv_{n+1}(.. prelu(conv_1(x))))))``. The one list ``body`` has
    convolutions at its even places, as in the published files.
    Source: Wang et al. 2021 and the files of its repository, xinntao/Real-ESRGAN, realesr-*.

    Args:
        config: the shape; `VIDEO` and `GENERAL` are at hand.
    """

    def __init__(self, config: SRVGGNetCompactConfig):
        super().__init__()
        self.config = config
        self.body = nn.ModuleList(
            [nn.Conv2d(config.in_channels, config.channels, 3, padding=1), nn.PReLU(config.channels)]
        )
        for _ in range(config.convolutions):
            self.body.extend([nn.Conv2d(config.channels, config.channels, 3, padding=1), nn.PReLU(config.channels)])
        self.body.append(nn.Conv2d(config.channels, config.out_channels * config.scale**2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) in [0, 1] -> (B, C_out, s·H, s·W), about [0, 1], s = ``config.scale``."""
        h = x
        for layer in self.body:
            h = layer(h)
        h = F.pixel_shuffle(h, self.config.scale)  # (B, C_out, s·H, s·W)
        return h + F.interpolate(x, scale_factor=self.config.scale, mode="nearest")
