"""A picture's latent drawn anew, as words have it: the same person with another expression, other clothes and another
ground."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .pixel_unet import PixelUNet, PixelUNetConfig

#: Of all norms; divides every width.
GROUPS = 16


class Redrawn(nn.Module):
    """``z + net(z, p)`` of a latent z and a text's summary p, at its best the latent that is meant, on average: ``E[x_0
    | z, p]``; at first z.

    A `PixelUNet` without a time, whose embedding p enters by one linear layer: in every block p scales and shifts what
    is normalised, so that words decide, and convolutions find where.

    Args:
        channels: C of the latent.
        summary: P of the text's summary.
        widths: of the levels of the network, multiples of `GROUPS`.
    """

    def __init__(self, channels: int, summary: int, widths: tuple[int, ...]):
        super().__init__()
        self.net = PixelUNet(
            PixelUNetConfig(
                in_channels=channels,
                out_channels=channels,
                block_out_channels=widths,
                layers_per_block=1,
                attention_heads=(0,) * len(widths),
                scale_shift=True,
                classes=summary,
                norm_num_groups=GROUPS,
            )
        )

    def forward(self, latent: Tensor, summary: Tensor) -> Tensor:
        """(B, C, H, W), (B, P) to (B, C, H, W)."""
        return latent + self.net(latent, torch.zeros_like(summary[:, 0]), pooled=summary)
