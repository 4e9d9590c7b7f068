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

    def laid(self, draft: torch.Tensor, things: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Drafts of things (B, K, C, S, S) laid out in one, each cell of the nearest thing in units of its size.

        ``places`` (B, K, 3) are centres and sizes, of the picture's side; where all sizes are 0, it is the draft of the
        whole.
        """
        side, batch = draft.shape[-1], len(draft)
        places = places.float()
        fine = (torch.arange(3 * side, device=places.device) + 0.5) / (3 * side)
        at = torch.stack([fine.expand(3 * side, -1), fine[:, None].expand(-1, 3 * side)], -1)
        centre, size = places[..., :2], places[..., 2]
        there = (at - centre[:, :, None, None]) / size.clamp(min=1e-3)[:, :, None, None, None]
        seen = F.grid_sample(
            things.flatten(0, 1).float(), 2 * there.flatten(0, 1), padding_mode="border", align_corners=False
        ).unflatten(0, (batch, -1))
        far = there.square().sum(-1) + 1e4 * (size == 0)[:, :, None, None]
        nearest = F.one_hot(far.argmin(1), things.shape[1]).movedim(-1, 1).to(seen)
        out = F.avg_pool2d((seen * nearest[:, :, None]).sum(1), 3)
        return torch.where((size > 0).any(1)[:, None, None, None], out.to(draft), draft)
