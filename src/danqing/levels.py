"""Pictures as bytes and as numbers in [-1, 1], and back without loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def bytes_of(image: Tensor) -> Tensor:
    """(..., H, W) in [-1, 1] -> the nearest of 256 levels, uint8; what lies outside is clamped."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def levels_of(pixels: Tensor) -> Tensor:
    """uint8 -> [-1, 1] in float32; `bytes_of` gives the same bytes back."""
    return pixels.float() / 127.5 - 1


def from_arrays(pictures: np.ndarray) -> Tensor:
    """Pictures (B, H, W, 3) of bytes as a tensor (B, 3, H, W) in [-1, 1]."""
    return levels_of(torch.from_numpy(np.array(pictures, order="C")).permute(0, 3, 1, 2).contiguous())


def to_arrays(levels: Tensor) -> np.ndarray:
    """(B, 3, H, W), about [-1, 1], as pictures (B, H, W, 3) of bytes."""
    return bytes_of(levels.detach().float()).permute(0, 2, 3, 1).cpu().numpy()
