"""From what a recogniser sees of a picture to where a text tower puts its words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ImageTowerConfig:
    """The shape of `ImageTower`.

    Args:
        grid: the numbers of the recogniser's coarsest grid, C · h · w. texture: those of its style.
        hidden: of the block in between.
        width: D of the text tower's summary.
    """

    grid: int
    texture: int
    hidden: int = 768
    width: int = 256


class ImageTower(nn.Module):
    """A recogniser's grid (B, grid) and texture (B, texture) to unit vectors (B, D) in the space of a text tower.

    ``y = W [norm(grid), norm(texture)]; e = y + V silu(U norm(y))``, divided by its length. The grid is read place by
    place, so that where things are is heard as well.
    """

    def __init__(self, config: ImageTowerConfig):
        super().__init__()
        self.config = config
        self.norm_grid, self.norm_texture = nn.LayerNorm(config.grid), nn.LayerNorm(config.texture)
        self.proj = nn.Linear(config.grid + config.texture, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.fc1, self.fc2 = nn.Linear(config.width, config.hidden), nn.Linear(config.hidden, config.width)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))  # of the contrastive loss: 1 / 0.07

    def forward(self, grid: Tensor, texture: Tensor) -> Tensor:
        y = self.proj(torch.cat([self.norm_grid(grid), self.norm_texture(texture)], 1))
        return F.normalize(y + self.fc2(F.silu(self.fc1(self.norm(y)))), dim=1)
