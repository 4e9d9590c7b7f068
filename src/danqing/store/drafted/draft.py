"""The draft of a danqing model, as a component of a diffusers pipeline: the text's summary, laid out on a grid."""

import math

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn


class Block(nn.Module):
    """``x + W_2 silu(W_1 norm(x))``, (B, H) to (B, H)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.up, self.down = nn.RMSNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(F.silu(self.up(self.norm(x))))


class Draft(ModelMixin, ConfigMixin):
    """``W body(pooled) + b``, about ``E[x_0 | text]``: (B, P) to (B, C, S, S)."""

    @register_to_config
    def __init__(self, pooled_channels: int, channels: int, size: int, hidden: int = 0, blocks: int = 0):
        super().__init__()
        self.body = nn.Sequential()
        if hidden:
            self.body = nn.Sequential(
                nn.Linear(pooled_channels, hidden), *(Block(hidden) for _ in range(blocks)), nn.RMSNorm(hidden)
            )
        self.linear = nn.Linear(hidden or pooled_channels, math.prod((channels, size, size)))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        c = self.config
        return self.linear(self.body(pooled)).unflatten(1, (c.channels, c.size, c.size))
