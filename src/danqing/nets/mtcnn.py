"""MTCNN: three small networks in a row, each of which looks closer at fewer places where a face may be.

Source: Zhang et al. 2016, "Joint face detection and alignment using multi-task cascaded convolutional networks",
section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InvalidInput


class Flat(nn.Module):
    """(B, C, H, W) -> (B, W·H·C), in the order of the published weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 2, 1).flatten(1)


def convolution(channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    """With a slope below zero that is learned for each channel."""
    return [nn.Conv2d(channels, out_channels, kernel), nn.PReLU(out_channels)]


def pool(kernel: int) -> nn.Module:
    """The largest of K×K, at every second place."""
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


class Stage(nn.Module):
    """One of the three: a trunk, and what is read from it.

    Args:
        trunk: layers.
        heads: what says how a box is to be moved, (for the last one) where landmarks are, and whether it is a face.
    """

    def __init__(self, trunk: Sequence[nn.Module], heads: Sequence[nn.Module]):
        super().__init__()
        self.trunk, self.heads = nn.Sequential(*trunk), nn.ModuleList(heads)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1], RGB -> what each head says; the last is log-odds of (no face, face) along axis 1."""
        h = self.trunk(x)
        return [head(h) for head in self.heads]

    def fill(self, arrays: Sequence[np.ndarray[Any, Any]]) -> Stage:
        """Weights as Keras lists them: kernels (H, W, in, out), matrices (in, out), slopes with axes of one before
        them.

        Raises:
            InvalidInput: they are not those of this network.
        """
        tensors = [torch.from_numpy(np.asarray(array, np.float32)) for array in arrays]
        turned = [t.permute(3, 2, 0, 1) if t.ndim == 4 else t.T if t.ndim == 2 else t.flatten() for t in tensors]
        wanted = list(self.parameters())
        if [t.shape for t in turned] != [p.shape for p in wanted]:
            raise InvalidInput(
                f"{len(turned)} arrays of other shapes than this network's {len(wanted)}: use the weights of mtcnn 1.0"
            )
        with torch.no_grad():
            for p, t in zip(wanted, turned, strict=True):
                p.copy_(t)
        return self.eval().requires_grad_(False)


def pnet() -> Stage:
    """Looks at 12 px, at every second place of a picture: (B, 3, H, W) -> boxes (B, 4, h, w), faces (B, 2, h, w)."""
    trunk = [*convolution(3, 10, 3), pool(2), *convolution(10, 16, 3), *convolution(16, 32, 3)]
    return Stage(trunk, [nn.Conv2d(32, 4, 1), nn.Conv2d(32, 2, 1)])


def rnet() -> Stage:
    """Looks at 24 px: (B, 3, 24, 24) -> boxes (B, 4), faces (B, 2)."""
    trunk = [*convolution(3, 28, 3), pool(3), *convolution(28, 48, 3), pool(3), *convolution(48, 64, 2), Flat()]
    return Stage([*trunk, nn.Linear(576, 128), nn.PReLU(128)], [nn.Linear(128, 4), nn.Linear(128, 2)])


def onet() -> Stage:
    """Looks at 48 px: (B, 3, 48, 48) -> boxes (B, 4), landmarks (B, 10), five x before five y, faces (B, 2)."""
    trunk = [*convolution(3, 32, 3), pool(3), *convolution(32, 64, 3), pool(3), *convolution(64, 64, 3), pool(2)]
    trunk += [*convolution(64, 128, 2), Flat(), nn.Linear(1152, 256), nn.PReLU(256)]
    return Stage(trunk, [nn.Linear(256, 4), nn.Linear(256, 10), nn.Linear(256, 2)])
