"""The convolutional layers that AutoencoderKL, the UNet and its control copy share unchanged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .operations import Activated, Added
from .ports import Context


def doubled(x: Tensor) -> Tensor:
    """Each pixel repeated twice along each side, (B, C, H, W) -> (B, C, 2H, 2W): as `F.interpolate` does, which is
    several times slower on a CPU both ways, but where the channels lie last."""
    if not x.is_contiguous():
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    x = torch.stack([x, x], 4).flatten(3)
    return torch.stack([x, x], 3).flatten(2, 3)


def halved(x: Tensor) -> Tensor:
    """The mean of each 2×2 pixels, (B, C, 2H, 2W) -> (B, C, H, W): as `F.avg_pool2d` does, and faster for the same
    reason."""
    upper, lower = x.unflatten(2, (-1, 2)).unbind(3)
    left, right = (upper + lower).unflatten(3, (-1, 2)).unbind(4)
    return (left + right) / 4


class ResnetBlock(nn.Module):
    """Two normalised convolutions around a skip, with the embedding of time added between them.

    ``h = conv1(silu(norm1(x))) + W silu(time);  y = shortcut(x) + conv2(silu(norm2(h)))``.
    Source: He et al. 2016; Ho et al. 2020, appendix B.

    Args:
        channels: of the input.
        out_channels: of the output; where they differ the shortcut is a 1×1 convolution, else the identity.
        groups: of the group norms; divides both channel counts.
        eps: of the group norms.
        time_channels: width of ``ctx.time``; 0 leaves time out, and then ``ctx`` is not read.
    """

    def __init__(self, channels: int, out_channels: int, *, groups: int, eps: float, time_channels: int = 0):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_channels, out_channels) if time_channels else None
        self.norm2 = nn.GroupNorm(groups, out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.activated, self.added = Activated(), Added()
        self.conv_shortcut = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, ctx: Context | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C_out, H, W)."""
        h = self.activated(self.norm1, x)
        if self.time_emb_proj is not None and ctx is not None:
            h = self.added(self.conv1, h, self.time_emb_proj(ctx.activated)[:, :, None, None])
        else:
            h = self.conv1(h)
        h = self.activated(self.norm2, h)  # what was normalised is let go before anything else is made
        return self.added(self.conv2, h, self.conv_shortcut(x))


class Downsample(nn.Module):
    """Half the height and the width by a 3×3 convolution of stride 2.

    Args:
        channels: of input and output.
        padding: columns and rows of zeros (left, right, top, bottom): (1, 1, 1, 1) in the UNet, (0, 1, 0, 1) in the
            autoencoder.
    """

    def __init__(self, channels: int, *, padding: tuple[int, int, int, int] = (1, 1, 1, 1)):
        super().__init__()
        self.even = len(set(padding)) == 1
        self.padding = padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding[0] if self.even else 0)

    def forward(self, x: Tensor, ctx: Context | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2)."""
        return self.conv(x if self.even else F.pad(x, self.padding))


class Upsample(nn.Module):
    """Repeat the nearest pixel, twice along each side or up to the wanted size, then a 3×3 convolution.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, ctx: Context | None = None, size: tuple[int, int] | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, 2H, 2W), or (B, C, *size)."""
        twice = (2 * x.shape[-2], 2 * x.shape[-1])
        return self.conv(doubled(x) if size in (None, twice) else F.interpolate(x, size=size, mode="nearest"))
