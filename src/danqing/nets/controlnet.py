"""Control networks of UNets: a copy of the way down that is shown a picture beside the noise, and adds to each skip.

A control copy shares the trunk of what it steers (port 1): `ControlNet` is a `TextTrunk` whose first level also reads
the hint, and a 1×1 convolution behind every skip, which starts at zero so that an untrained one changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .ports import Context, Residuals
from .trunk import Mid, Same
from .unet import TextTrunk, Transformer, UNetConfig, diffusers_config

#: Under which name the first level finds what is seen of the hint.
SEEN = "seen"


@dataclass(frozen=True, kw_only=True)
class ControlNetConfig(UNetConfig):
    """The shape of a `ControlNet`: that of the UNet that it steers, of which it may leave attention out.

    Args:
        hint_channels: of the hint.
        hint_widths: of the convolutions that embed it; each but the first halves the grid.
        mid_resnets: residual blocks in the middle: 2, or 1 without attention (SDXL small).
        hollow: levels whose transformers have no block between their projections (SDXL mid).
        pooled_residuals: each residual is its mean over the grid (shuffle).
    """

    hint_channels: int = 3
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)
    mid_resnets: int = 2
    hollow: tuple[int, ...] = ()
    pooled_residuals: bool = False


class Shown(NamedTuple):
    """A hint as a control network is shown it.

    Args:
        seen: what `ControlNet.see` says of it, (B, C_0, H, W).
        weight: how strongly it counts.
        type: which of its kinds it is, for a network that knows several.
    """

    seen: Tensor
    weight: float = 1.0
    type: int = 0


class HintEmbedding(nn.Module):
    """A hint at the size of the picture as a map over the latent, (B, C_hint, 8H, 8W) -> (B, C_0, H, W).

    Source: Zhang et al. 2023, section 3.2.
    """

    def __init__(self, config: ControlNetConfig):
        super().__init__()
        widths = config.hint_widths
        self.conv_in = nn.Conv2d(config.hint_channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, wider in pairwise(widths):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, wider, 3, padding=1, stride=2))
        self.conv_out = shut(nn.Conv2d(widths[-1], config.block_out_channels[0], 3, padding=1))

    def forward(self, hint: Tensor) -> Tensor:
        x = F.silu(self.conv_in(hint))
        for layer in self.blocks:
            x = F.silu(layer(x))
        return self.conv_out(x)


class ControlNet(TextTrunk):
    """What a hint has to say in each skip of a UNet and in its middle.

    Module names are those of diffusers' `ControlNetModel`.
    Source: Zhang et al. 2023, section 3.

    Args:
        config: the shape.
    """

    config: ControlNetConfig  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen, as every config is

    def __init__(self, config: ControlNetConfig):
        super().__init__(config)
        self.controlnet_cond_embedding = HintEmbedding(config)
        widths = (*config.skip_channels, config.block_out_channels[-1])
        *down, self.controlnet_mid_block = [shut(nn.Conv2d(width, width, 1)) for width in widths]
        self.controlnet_down_blocks = nn.ModuleList(down)

    def attention(self, level: int, width: int) -> nn.Module:
        config = self.config
        if level in config.hollow:
            return Transformer(width, depth=0, heads=config.attention_heads[level], config=config)
        return super().attention(level, width)

    def middle(self, width: int) -> Mid:
        return super().middle(width) if self.config.mid_resnets > 1 else Mid([self.resnet(width, width)], [Same()])

    @property
    def factor(self) -> int:
        """How many pixels lie along a cell of what is seen."""
        return 2 ** (len(self.config.hint_widths) - 1)

    def see(self, hint: Tensor) -> Tensor:
        """What is seen of a hint, the same in every step: (B, C_hint, 8H, 8W), 0 to 1 -> (B, C_0, H, W).

        Where a part of the picture is to be painted, an inpainting network's hint is -1.
        """
        return self.controlnet_cond_embedding(hint)

    def enter(self, x: Tensor, ctx: Context) -> Tensor:
        return self.conv_in(x) + ctx.extra[SEEN]

    def forward(
        self, x: Tensor, time: Tensor, tokens: Tensor | None, *, shown: Sequence[Shown], pooled: Tensor | None = None
    ) -> Residuals:
        """The residuals of port 1.

        Args:
            x: (B, C_in, H, W), as the UNet reads it.
            time, tokens, pooled: as the UNet's.
            shown: the one hint.
        """
        (hint,) = shown
        ctx = Context(time=self.embed(x, time, pooled), tokens=tokens, extra={SEEN: hint.seen})
        return self.told(x, ctx) * hint.weight

    def told(self, x: Tensor, ctx: Context) -> Residuals:
        """What stands behind the way down and the middle."""
        mid, skips = self.down(x, ctx)
        down = [layer(skip) for layer, skip in zip(self.controlnet_down_blocks, skips, strict=True)]
        *down, mid = map(self.spread, (*down, self.controlnet_mid_block(mid)))
        return Residuals(down=tuple(down), mid=mid)

    def spread(self, residual: Tensor) -> Tensor:
        """A residual, or its mean over the grid, (B, C, 1, 1)."""
        return residual.mean((2, 3), keepdim=True) if self.config.pooled_residuals else residual


def shut(layer: nn.Conv2d) -> nn.Conv2d:
    """The same, started at zero."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def diffusers_arguments(config: ControlNetConfig) -> Mapping[str, Any]:
    """The keyword arguments of diffusers' `ControlNetModel` of the same weights."""
    plain = {"out_channels", "up_block_types"}
    said = {name: value for name, value in diffusers_config(config).items() if name not in plain}
    return {
        **said,
        "conditioning_channels": config.hint_channels,
        "conditioning_embedding_out_channels": config.hint_widths,
        "global_pool_conditions": config.pooled_residuals,
    }
