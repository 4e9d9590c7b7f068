"""Up, filter, down: the one resampling of StyleGAN and of its augmentations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

#: The binomial low pass of StyleGAN2 (Karras et al. 2020, section 2), before it is normalised.
TAPS = (1.0, 3.0, 3.0, 1.0)


def low_pass(taps: Sequence[float] = TAPS) -> Tensor:
    """The separable filter of these taps, (K, K), whose sum is 1, so that a constant picture stays as it is."""
    row = torch.tensor(taps)
    return torch.outer(row, row) / row.sum().square()


def upfirdn(x: Tensor, taps: Tensor, *, up: int = 1, down: int = 1, before: int = 0, after: int = 0) -> Tensor:
    """Put ``up - 1`` zeros behind each pixel, pad with zeros, convolve, keep each ``down``-th pixel.

    ``y[n] = sum_k f[k] u[down n - k + K - 1 - before]`` along each side, u being x with the zeros. It is linear in x,
    and can be differentiated as often as one likes.

    Args:
        x: (B, C, H, W).
        taps: f, (K, K).
        before, after: how many zeros, at the top and the left, at the bottom and the right, counted in u.

    Returns:
        (B, C, H', W'), ``H' = (up H + before + after - K) // down + 1``.
    """
    channels, height, width = x.shape[1:]
    if up > 1:
        x = F.pad(x[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1))  # (B, C, H, up, W, up)
        x = x.reshape(-1, channels, up * height, up * width)
    if before != after:
        x = F.pad(x, (before, after, before, after))
    kernel = taps.flip(0, 1).to(x.dtype).expand(channels, 1, *taps.shape)  # a convolution turns its kernel around
    return F.conv2d(x, kernel, stride=down, padding=before if before == after else 0, groups=channels)


def upsample(x: Tensor, taps: Tensor) -> Tensor:
    """Twice the height and the width, (B, C, 2H, 2W); ``taps`` is of even size."""
    half = len(taps) // 2
    return upfirdn(x, 4 * taps, up=2, before=half, after=half - 1)  # three of four pixels are zeros


def downsample(x: Tensor, taps: Tensor) -> Tensor:
    """Half the height and the width, (B, C, H/2, W/2); ``taps`` is of even size."""
    half = len(taps) // 2
    return upfirdn(x, taps, down=2, before=half - 1, after=half - 1)
