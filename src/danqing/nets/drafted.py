"""A UNet that begins from a draft: a first guess of the latent from the text's summary alone, read beside the noisy
latent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .unet import UNet, UNetConfig


@dataclass(frozen=True, kw_only=True)
class DraftedUNetConfig(UNetConfig):
    """The shape of a `DraftedUNet`.

    Args:
        in_channels: of the latent and the draft together.
        pooled_channels: P of the summary that is drafted.
        draft_size: the side S of the draft's grid, that of the latents trained on.
    """

    in_channels: int = 8
    pooled_channels: int = 768
    draft_size: int = 64


#: For 16×16×8 latents on a CPU: convolutions alone at 16×16, attention at 8×8 and in the 4×4 middle, where it is cheap.
#: The text's summary reaches every residual block, its words the attention.
#: 20.2M parameters, 1.95 GFLOP a call and picture (a multiplication and an addition counted as two).
MINI = DraftedUNetConfig(
    in_channels=16,
    out_channels=8,
    block_out_channels=(128, 192, 256),
    layers_per_block=1,
    transformer_layers=(0, 1, 0),
    mid_transformer_layers=2,
    attention_heads=(4, 6, 8),
    cross_attention_dim=256,
    use_linear_projection=True,
    pooled_channels=256,
    draft_size=16,
)


class Draft(nn.Module):
    """The text's summary, laid out on a grid: ``draft = W pooled + b``, at its best ``E[x_0 | text]``.

    Args:
        pooled_channels: P of the summary.
        channels: C of the latent.
        size: the side S of the grid.
    """

    def __init__(self, pooled_channels: int, channels: int, size: int):
        super().__init__()
        self.shape = (channels, size, size)
        self.linear = nn.Linear(pooled_channels, math.prod(self.shape))

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, P) to (B, C, S, S)."""
        return self.linear(pooled).unflatten(1, self.shape)


class DraftedUNet(UNet):
    """A `UNet` whose first convolution reads the noisy latent and, beside it, the draft.

    A summary that enters through the embedding of time says the same everywhere, and the network has to invent where
    things are; the draft says it from the first step of training. Concatenating a condition to the latent is as in
    Rombach et al. 2022, section 3.3; going from the text to a first picture by a small network of its own as in Ramesh
    et al. 2022, section 2.2.

    Args:
        config: the shape; `MINI` is at hand.
    """

    config: DraftedUNetConfig  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen, as every config is

    def __init__(self, config: DraftedUNetConfig):
        super().__init__(config)
        self.draft = Draft(config.pooled_channels, config.in_channels - config.out_channels, config.draft_size)

    def beside(self, x: Tensor, pooled: Tensor | None, where: Tensor | None = None) -> Tensor:
        """The latent (B, C, H, W) and the draft of (B, P), resampled where its grid is not H × W, as (B, 2 C, H, W).

        Args:
            where: of a part of a picture, where in the draft its cells lie, (B, H, W, 2): across and down, -1 .. 1 from
                edge to edge.
        """
        if pooled is None or pooled.shape[-1] != self.config.pooled_channels:
            given = "none" if pooled is None else f"one of width {pooled.shape[-1]}"
            raise InvalidInput(
                f"this UNet drafts from the text's summary of width {self.config.pooled_channels} and was given "
                f"{given}: "
                "use the text encoder of its model"
            )
        draft = self.draft(pooled.to(x.dtype))
        if where is not None:
            draft = F.grid_sample(draft, where.to(draft), padding_mode="border", align_corners=False)
        elif draft.shape[2:] != x.shape[2:]:
            draft = F.interpolate(draft, x.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([x, draft], 1)

    def read(self, x: Tensor, pooled: Tensor | None, extra: Mapping[str, Tensor]) -> Tensor:
        """``x`` is the latent alone, ``pooled`` is needed; ``extra["where"]`` says of which part, where of one."""
        return self.beside(x, pooled, extra.get("where"))
