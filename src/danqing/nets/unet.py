"""The UNet of Stable Diffusion 1.x, 2.x, XL and its refiner, and of the small model that ships.

How an adapter meets it, port by port:

1. ``residuals`` of the call are added to the skips and to the middle (ControlNet);
2. every stage owns ``inserted``, one empty ``nn.ModuleDict`` a step: ``stage.inserted[i]["name"] = layer`` runs
   ``layer(x, ctx) -> x`` after the i-th residual block and its attention, ``del`` takes it away again (AnimateDiff);
3. every `CrossAttention` that reads text owns ``branches``, an empty ``nn.ModuleDict`` (IP-Adapter);
4. every ``nn.Linear`` and ``nn.Conv2d`` is called as a module and may be replaced by name (LoRA);
5. ``net.body(x, ctx, residuals) -> x`` runs all levels, and another may stand in its place (`nets.deep`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import InvalidInput
from .blocks import ResnetBlock
from .operations import Added, Attend, Gated
from .ports import Context
from .trunk import Backbone, Embedding, Same, Trunk, TrunkConfig, sinusoid

EPS = 1e-5
TRANSFORMER_EPS = 1e-6  # of the group norm before a transformer; published weights were trained with it


@dataclass(frozen=True, kw_only=True)
class UNetConfig(TrunkConfig):
    """The shape of a `UNet`; inpainting networks read 9 channels and write 4.

    Args:
        transformer_layers: transformer blocks after each residual block, one number a level; 0 leaves attention out.
        mid_transformer_layers: the same in the middle.
        attention_heads: heads a level; divides the level's width. The middle has as many as the last level.
        cross_attention_dim: D of the text tokens.
        use_linear_projection: the transformer's outer projections are linear instead of 1×1 convolutions (2.x, XL).
        norm_num_groups: divides every width.
        pooled_channels: P of the pooled conditioning; 0 for a network that reads none.
    """

    transformer_layers: tuple[int, ...] = (1, 1, 1, 0)
    mid_transformer_layers: int = 1
    attention_heads: tuple[int, ...] = (8, 8, 8, 8)
    cross_attention_dim: int = 768
    use_linear_projection: bool = False
    norm_num_groups: int = 32
    pooled_channels: int = 0


SD1 = UNetConfig()
SD2 = UNetConfig(attention_heads=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True)
SDXL = UNetConfig(
    block_out_channels=(320, 640, 1280),
    transformer_layers=(0, 2, 10),
    mid_transformer_layers=10,
    attention_heads=(5, 10, 20),
    cross_attention_dim=2048,
    use_linear_projection=True,
    pooled_channels=1280 + 6 * 256,
)
SDXL_REFINER = UNetConfig(
    block_out_channels=(384, 768, 1536, 1536),
    transformer_layers=(0, 4, 4, 0),
    mid_transformer_layers=4,
    attention_heads=(6, 12, 24, 24),
    cross_attention_dim=1280,
    use_linear_projection=True,
    pooled_channels=1280 + 5 * 256,
)


def size_embedding(ids: Tensor, dim: int = 256) -> Tensor:
    """SDXL's numbers (original size, crop, target size; or an aesthetic score), (B, K) -> (B, K·dim).

    The network's ``pooled`` is ``cat([text summary (B, 1280), size_embedding(ids)], dim=1)``.
    Source: Podell et al. 2023, section 2.2.
    """
    return sinusoid(ids.flatten(), dim).reshape(ids.shape[0], -1)


class Attention(nn.Module):
    """Multi-headed attention of a grid's cells over themselves.

    ``y = W_o softmax(q kᵀ / √d) v``. Source: Vaswani et al. 2017, section 3.2.

    Args:
        channels: of the cells, C.
        heads: divides C; d = C / heads.
        source_channels: of what keys and values are made from.
    """

    def __init__(self, channels: int, *, heads: int, source_channels: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(source_channels, channels, bias=False)
        self.to_v = nn.Linear(source_channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.attend = Attend()

    def split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, d)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """(B, heads, N, d) -> (B, N, C), through the output projection."""
        return self.to_out[0](x.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.over(x, x)

    def over(self, x: Tensor, source: Tensor) -> Tensor:
        """(B, N, C), to the cells of (B, M, C_source) -> (B, N, C)."""
        q, k, v = self.split(self.to_q(x)), self.split(self.to_k(source)), self.split(self.to_v(source))
        return self.merge(self.attend(q, k, v))

    def apart(self, x: Tensor, ctx: Context) -> Tensor:
        """The same where each cell attends to itself alone: ``W_o v``."""
        return self.to_out[0](self.to_v(x))


class CrossAttention(Attention):
    """Attention of a grid's cells over the text tokens, plus what the branches add (port 3).

    ``y = W_o (softmax(q kᵀ / √d) v + Σ branch(q, ctx))``; a branch maps queries (B, heads, N, d) to that shape.
    Source: Rombach et al. 2022, section 3.3; Ye et al. 2023, equation 5 (the branches).
    """

    def __init__(self, channels: int, *, heads: int, source_channels: int):
        super().__init__(channels, heads=heads, source_channels=source_channels)
        self.branches = nn.ModuleDict()

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """(B, N, C), with ``ctx.tokens`` (B, L, D) -> (B, N, C)."""
        q, k, v = self.split(self.to_q(x)), self.split(self.to_k(ctx.tokens)), self.split(self.to_v(ctx.tokens))
        y = self.attend(q, k, v)
        for branch in self.branches.values():
            y = y + branch(q, ctx)
        return self.merge(y)


class GEGLU(nn.Module):
    """``a · gelu(b)`` with [a, b] = W x, (…, C) -> (…, 4C). Source: Shazeer 2020."""

    def __init__(self, channels: int):
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)
        self.gated = Gated()

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(self.proj(x))


class FeedForward(nn.Module):
    """A gated hidden layer four times as wide; `net.1` is where the published layout had dropout."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(GEGLU(channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, attention to the text, feed-forward, each normalised before and added to its input."""

    def __init__(self, channels: int, *, heads: int, token_channels: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads=heads, source_channels=channels)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = CrossAttention(channels, heads=heads, source_channels=token_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.attn1(self.norm1(x), ctx)
        x = x + self.attn2(self.norm2(x), ctx)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    """Transformer blocks over the cells of a grid, added to the grid. Source: Rombach et al. 2022, appendix E.2.1.

    Args:
        channels: C of the grid.
        depth: number of blocks, >= 1.
        config: of the network.
        heads: divides C.
    """

    def __init__(self, channels: int, *, depth: int, heads: int, config: UNetConfig):
        super().__init__()
        self.linear = config.use_linear_projection
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, TRANSFORMER_EPS)
        self.proj_in = nn.Linear(channels, channels) if self.linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads=heads, token_channels=config.cross_attention_dim) for _ in range(depth)
        )
        self.proj_out = nn.Linear(channels, channels) if self.linear else nn.Conv2d(channels, channels, 1)
        self.added = Added()

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        height, width = x.shape[-2:]
        h = self.norm(x)
        h = self.proj_in(cells(h)) if self.linear else cells(self.proj_in(h))  # (B, HW, C)
        for block in self.transformer_blocks:
            h = block(h, ctx)
        if self.linear:
            return grid(self.added(self.proj_out, h, cells(x)), height, width)
        return self.added(self.proj_out, grid(h, height, width), x)


def cells(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, HW, C); a view where x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def grid(x: Tensor, height: int, width: int) -> Tensor:
    """(B, HW, C) -> (B, C, H, W), channels-last."""
    return x.unflatten(1, (height, width)).permute(0, 3, 1, 2)


class TextTrunk(Trunk):
    """The trunk whose levels attend to the text: the way down of a `UNet`, and of a control network's copy of it.

    Raises:
        InvalidInput: the levels of the configuration do not agree, or heads do not divide a width.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig):
        widths, depths, heads = config.block_out_channels, config.transformer_layers, config.attention_heads
        if not len(widths) == len(depths) == len(heads):
            raise InvalidInput(
                f"a UNet of {len(widths)} levels {widths} has {len(depths)} transformer_layers {depths} "
                f"and {len(heads)} attention_heads {heads}: give one of each a level"
            )
        if any(width % head for width, head in zip(widths, heads, strict=True)):
            raise InvalidInput(
                f"attention_heads {heads} do not divide the widths {widths}: each level's heads must divide its width"
            )
        super().__init__(config)

    def make_embeddings(self) -> None:
        config = self.config
        self.add_embedding = Embedding(config.pooled_channels, config.time_channels) if config.pooled_channels else None

    def resnet(self, channels: int, out_channels: int) -> ResnetBlock:
        groups, time_channels = self.config.norm_num_groups, self.config.time_channels
        return ResnetBlock(channels, out_channels, groups=groups, eps=EPS, time_channels=time_channels)

    def attention(self, level: int, width: int) -> nn.Module:
        config = self.config
        depth = (*config.transformer_layers, config.mid_transformer_layers)[level]
        heads = (*config.attention_heads, config.attention_heads[-1])[level]
        return Transformer(width, depth=depth, heads=heads, config=config) if depth else Same()

    def embed(self, x: Tensor, time: Tensor, pooled: Tensor | None) -> Tensor:
        """The embedding of time, plus that of the pooled conditioning where the network reads one, (B, E)."""
        embedding = super().embed(x, time, pooled)
        if self.add_embedding is None:
            return embedding
        if pooled is None or pooled.shape[-1] != self.config.pooled_channels:
            given = "none" if pooled is None else f"one of width {pooled.shape[-1]}"
            raise InvalidInput(
                f"this UNet reads a pooled conditioning of width {self.config.pooled_channels} and was given {given}: "
                "concatenate the text summary and size_embedding(ids)"
            )
        return embedding + self.add_embedding(pooled.to(x.dtype))


class UNet(TextTrunk, Backbone):
    """The denoising UNet of latent diffusion, conditioned on time, text tokens and, for XL, a pooled summary.

    Called as `Backbone.forward` says, with ``tokens``, time in 0 .. 1000, and any height and width.
    Module names are those of diffusers' `UNet2DConditionModel`.
    Source: Rombach et al. 2022, section 3.3; Podell et al. 2023, section 2.

    Args:
        config: the shape; `SD1`, `SD2`, `SDXL` and `SDXL_REFINER` are at hand.
    """

    def norm(self, width: int) -> nn.Module:
        return nn.GroupNorm(self.config.norm_num_groups, width, EPS)

    def check(self, x: Tensor, tokens: Tensor | None) -> None:
        """Refuse channels or tokens of another width."""
        width = 0 if tokens is None else tokens.shape[-1]
        if x.shape[1] != self.config.in_channels or width != self.config.cross_attention_dim:
            raise InvalidInput(
                f"this UNet reads {self.config.in_channels} channels and tokens of width "
                f"{self.config.cross_attention_dim}; given were {x.shape[1]} channels and tokens of width "
                f"{width}: use the text encoder and the codec of its model"
            )


def diffusers_config(config: UNetConfig) -> dict[str, Any]:
    """The keyword arguments of diffusers' `UNet2DConditionModel` of the same weights.

    It always has a transformer in the middle, so ``mid_transformer_layers`` >= 1; of a level without attention it never
    reads the depth, which is given as 1.
    """
    down = tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in config.transformer_layers)
    up = tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(config.transformer_layers))
    # The middle takes the last level's depth there, which is free where that level has no attention.
    depths = (*(max(depth, 1) for depth in config.transformer_layers[:-1]), config.mid_transformer_layers)
    if config.transformer_layers[-1] not in (0, config.mid_transformer_layers) or config.mid_transformer_layers < 1:
        raise InvalidInput(
            f"diffusers cannot hold a middle of {config.mid_transformer_layers} transformer layers under a last level "
            f"of {config.transformer_layers[-1]}: make them equal, or the last level 0 and the middle at least 1"
        )
    pooled: dict[str, Any] = {}
    if config.pooled_channels:
        pooled = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": config.pooled_channels,
        }
    return {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": config.block_out_channels,
        "layers_per_block": config.layers_per_block,
        "down_block_types": down,
        "up_block_types": up,
        "transformer_layers_per_block": depths,
        # In diffusers this argument counts heads, its name notwithstanding.
        "attention_head_dim": config.attention_heads,
        "cross_attention_dim": config.cross_attention_dim,
        "use_linear_projection": config.use_linear_projection,
        "norm_num_groups": config.norm_num_groups,
        **pooled,
    }
