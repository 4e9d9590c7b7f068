"""A control network of several kinds of hints at once, each with a weight of its own (xinsir's union and ProMax)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .controlnet import SEEN, ControlNet, ControlNetConfig, Shown
from .ports import Context, Residuals
from .trunk import Embedding, sinusoid

TYPE_CHANNELS = 256  # of the sinusoid of each kind's mark


@dataclass(frozen=True, kw_only=True)
class ControlNetUnionConfig(ControlNetConfig):
    """The shape of a `ControlNetUnion`.

    Args:
        types: how many kinds of hints it knows: 6, ProMax 8.
        type_heads, type_layers: of the transformer that compares what the hints say with the noise.
    """

    hint_widths: tuple[int, ...] = (48, 96, 192, 384)
    types: int = 6
    type_heads: int = 8
    type_layers: int = 1


class ResidualAttention(nn.Module):
    """Attention, then a hidden layer four times as wide, each added; (B, N, C) -> the same.

    The published network attends where the batch lies, not over the N vectors, and pictures of a batch must not know of
    each other: so each vector attends to itself alone, which is the same wherever all of the batch are shown alike.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(channels, 4 * channels), "c_proj": nn.Linear(4 * channels, channels)}
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x).flatten(0, 1)[None]  # a sequence of one
        x = x + self.attn(y, y, y, need_weights=False)[0].view_as(x)
        hidden = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))


class ControlNetUnion(ControlNet):
    """A control network that is told which kinds of hints it sees.

    Of each hint's mean and its kind a transformer says what to add to that hint's map; the sum of the maps enters the
    first level. Module names are those of diffusers' `ControlNetUnionModel`.
    Source: xinsir6/ControlNetPlus.

    Args:
        config: the shape.
    """

    config: ControlNetUnionConfig  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen, as every config is

    def __init__(self, config: ControlNetUnionConfig):
        super().__init__(config)
        width = config.block_out_channels[0]
        self.task_embedding = nn.Parameter(width**0.5 * torch.randn(config.types, width))
        self.transformer_layes = nn.ModuleList(
            ResidualAttention(width, config.type_heads) for _ in range(config.type_layers)
        )  # spelled as it was published
        self.spatial_ch_projs = nn.Linear(width, width)
        nn.init.zeros_(self.spatial_ch_projs.weight)
        nn.init.zeros_(self.spatial_ch_projs.bias)
        self.control_add_embedding = Embedding(config.types * TYPE_CHANNELS, config.time_channels)

    def forward(
        self, x: Tensor, time: Tensor, tokens: Tensor | None, *, shown: Sequence[Shown], pooled: Tensor | None = None
    ) -> Residuals:
        """The residuals of port 1; of a single hint of weight w, w times those of weight 1.

        Args:
            x, time, tokens, pooled: as the UNet's.
            shown: the hints, of any kinds.
        """
        marks = x.new_zeros(self.config.types)
        marks[[one.type for one in shown]] = 1
        kinds = sinusoid(marks, TYPE_CHANNELS).flatten()[None].to(x.dtype)  # (1, types · 256)
        embedding = self.embed(x, time, pooled) + self.control_add_embedding(kinds)
        after = shown[0].weight if len(shown) == 1 else 1.0
        told = self.together(self.conv_in(x), [one._replace(weight=one.weight / after) for one in shown])
        return self.told(x, Context(time=embedding, tokens=tokens, extra={SEEN: told})) * after

    def together(self, entering: Tensor, shown: Sequence[Shown]) -> Tensor:
        """What the hints add to what enters the first level, (B, C_0, H, W)."""
        means = [(one.seen.mean((2, 3)) + self.task_embedding[one.type]) * one.weight for one in shown]
        vectors = torch.stack([*means, entering.mean((2, 3))], 1)  # (B, hints + 1, C_0)
        for layer in self.transformer_layes:
            vectors = layer(vectors)
        told = self.spatial_ch_projs(vectors)
        maps = [(one.seen + told[:, i, :, None, None]) * one.weight for i, one in enumerate(shown)]
        return torch.stack(maps).sum(0)
