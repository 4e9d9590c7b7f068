"""What a picture shows, told from the picture alone: its style, its subject, and what is asked of a portrait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import FeatureConfig, Features, deviation


@dataclass(frozen=True, kw_only=True)
class RecogniserConfig:
    """The shape of `Recogniser`.

    Args:
        trunk: of the network that sees.
        styles: how many styles there are.
        words: how many words answer all other questions.
        texture: of how many of the finest levels the style is read.
        dropout: of what it is read of.
    """

    trunk: FeatureConfig = field(
        default_factory=lambda: FeatureConfig(image_size=128, patch=4, widths=(40, 80, 160, 320), features=256)
    )
    styles: int
    words: int
    texture: int = 3
    dropout: float = 0.3


class Recogniser(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to logits (B, styles + words), S any multiple of 2^(levels - 1) · patch.

    A style is a matter of line and texture, so it is read of the finest levels' means and deviations, which hold no
    subject yet: read where the subject is, it is learned by heart, picture by picture.
    """

    def __init__(self, config: RecogniserConfig):
        super().__init__()
        self.config, self.trunk = config, Features(config.trunk)
        self.style = nn.Linear(2 * sum(config.trunk.widths[: config.texture]), config.styles)
        self.word = nn.Linear(config.trunk.features, config.words)

    def forward(self, picture: Tensor) -> Tensor:
        grids = list(self.trunk.grids(picture))
        return torch.cat([self.style(self._texture(grids)), self.word(self.trunk.read(grids))], 1)

    def features(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The coarsest grid, (B, C, h, w), and what the style is read of, (B, T)."""
        grids = list(self.trunk.grids(picture))
        return F.silu(self.trunk.norm_out(grids[-1])).float(), self._texture(grids)

    def _texture(self, grids: Sequence[Tensor]) -> Tensor:
        fine = grids[: self.config.texture]
        moments = torch.cat([each for grid in fine for each in (grid.float().mean((2, 3)), deviation(grid))], 1)
        return F.dropout(moments, self.config.dropout, self.training)
