"""Stable Diffusion XL's UNet, and what steers it, with the sizes filled in from the picture that is painted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .unet import TextTrunk, UNetConfig, size_embedding


class Sized(nn.Module):
    """A `UNet`, or a control network of one, that is told the sizes of its training pictures, asked as if each were
    whole and of the size painted.

    The base reads (height, width, top, left, height, width): of the original, of the crop's corner, of the picture; the
    refiner (height, width, top, left, aesthetic score), its score being the last number of the summary. Source: Podell
    et al. 2023, sections 2.2 and 2.5.

    Args:
        net: with ``pooled_channels`` = P + 256 · (number of ids).
        factor: pixels along one side of a latent cell.
        scored: the refiner.
    """

    def __init__(self, net: TextTrunk, *, factor: int = 8, scored: bool = False):
        super().__init__()
        self.net, self.factor, self.scored = net, factor, scored

    @property
    def config(self) -> UNetConfig:
        """Of the network."""
        return self.net.config

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        tokens: Tensor,
        *,
        pooled: Tensor | None = None,
        **more: Any,
    ) -> Any:
        """As the network's; ``pooled`` is the text's summary (B, P), of the refiner (B, P + 1), the score last."""
        if pooled is None:
            raise InvalidInput(
                "this UNet reads a summary of the text, and none was given: use the text encoder of its model"
            )
        height, width = (side * self.factor for side in x.shape[2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=x.device).expand(
            len(x), 6
        )
        if self.scored:
            pooled, score = pooled[:, :-1], pooled[:, -1:]
            sizes = torch.cat([sizes[:, :4], score.float()], 1)
        summary = torch.cat([pooled.to(x.dtype), size_embedding(sizes).to(x.dtype)], 1)
        return self.net(x, time, tokens, pooled=summary, **more)


def told_as(net: nn.Module, other: Any) -> Any:
    """Another network that is told what a denoiser's is: sizes where that is `Sized`; itself where it is not."""
    return Sized(other, factor=net.factor, scored=net.scored) if isinstance(net, Sized) else other
