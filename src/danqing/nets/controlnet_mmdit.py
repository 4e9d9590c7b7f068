"""Control networks of an `MMDiT`: blocks beside its own that read a hint's latent with the noise, and add to its image
stream.

Two kinds are published. Copies of the transformer's first blocks read the text too (InstantX). Those of Stability AI
for 3.5 large are blocks of the image alone, which read no more of the text than its summary and begin with what the
transformer's own embedding makes of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .controlnet import Shown, shut
from .mmdit import (
    AdaLN,
    Block,
    FeedForward,
    MMDiTConfig,
    PatchEmbed,
    SelfAttention,
    Streams,
    Through,
    TimeTextEmbed,
    whole,
    zero,
)
from .ports import Context


@dataclass(frozen=True, kw_only=True)
class MMDiTControlConfig(MMDiTConfig):
    """The shape of an `MMDiTControl`: that of the transformer that it steers, with fewer blocks.

    Args:
        joint_attention_dim: D of the text tokens; 0 where its blocks are of the image alone.
        pos_embed_max_size: as the transformer's; 0 where it has no embedding of the noise of its own.
        hint_channels: of the hint beside its latent: 1, of an inpainting network, which says where the picture stays.
        silent: its summary of the text is all zeros.
        edges: its hint is edges, which enter the codec as 127.5 h + 0.5 and not as 2 h - 1 (Stability AI's).
    """

    num_layers: int = 12
    hint_channels: int = 0
    silent: bool = True
    edges: bool = False


class ImageBlock(nn.Module):
    """A `Block` without text: attention of the image over itself, then a feed-forward, modulated by time."""

    def __init__(self, config: MMDiTConfig):
        super().__init__()
        self.norm1 = AdaLN(config.width, 2)
        self.attn = SelfAttention(config)
        self.ff = FeedForward(config.width)

    def forward(self, x: Streams, ctx: Context) -> Streams:
        """`Streams` -> `Streams`, the text's as it is."""
        attention, hidden = self.norm1(ctx.time)
        y = attention.leave(x.image, self.attn(attention.enter(x.image)))
        return x._replace(image=hidden.leave(y, self.ff(hidden.enter(y))))


class HintPatches(nn.Module):
    """What is seen of a hint, in the transformer's patches: (B, C, H, W) -> (B, N, W)."""

    def __init__(self, config: MMDiTControlConfig):
        super().__init__()
        channels, patch = config.in_channels + config.hint_channels, config.patch_size
        self.proj = shut(nn.Conv2d(channels, config.width, patch, stride=patch))

    def forward(self, seen: Tensor) -> Tensor:
        return self.proj(seen).flatten(2).transpose(1, 2)


class MMDiTControl(nn.Module):
    """What a hint has to say to the image stream of an `MMDiT`.

        y_0 = E x + P h,      y_i = block_i(y_(i-1)),      r_i = Z_i y_i,      P = 0 and Z_i = 0 before training

    Module names are those of diffusers' `SD3ControlNetModel`.
    Source: Zhang et al. 2023, section 3, for the transformer of Esser et al. 2024; InstantX and Stability AI.

    Args:
        config: the shape.
    """

    def __init__(self, config: MMDiTControlConfig):
        super().__init__()
        self.config = config
        width, layers, text = config.width, range(config.num_layers), config.joint_attention_dim
        self.pos_embed = PatchEmbed(config) if config.pos_embed_max_size else None
        self.time_text_embed = TimeTextEmbed(config)
        self.context_embedder = nn.Linear(text, width) if text else None
        self.transformer_blocks = nn.ModuleList(
            Block(config, dual=i in config.dual_attention_layers) if text else ImageBlock(config) for i in layers
        )
        self.controlnet_blocks = nn.ModuleList(zero(nn.Linear(width, width)) for _ in layers)
        self.pos_embed_input = HintPatches(config)

    def forward(
        self,
        image: Tensor,
        time: Tensor,
        tokens: Tensor | None,
        *,
        shown: Sequence[Shown],
        pooled: Tensor,
        through: Through = whole,
    ) -> tuple[Tensor, ...]:
        """One residual of each block, (B, N, W) each, which `mmdit.spread` makes those of port 1.

        Args:
            image: E x, (B, N, W): by ``pos_embed``, or by the transformer's where that is None.
            time, tokens, pooled: as the transformer's.
            shown: the one hint; ``seen`` is its latent, (B, C + hint_channels, H, W).
            through: how a block is run.
        """
        (hint,) = shown
        summary = torch.zeros_like(pooled) if self.config.silent else pooled
        ctx = Context(time=self.time_text_embed(time, summary.to(image.dtype)), tokens=tokens)
        text = image[:, :0] if self.context_embedder is None else self.context_embedder(tokens)
        state, found = Streams(image + self.pos_embed_input(hint.seen), text), list[Tensor]()
        for block, layer in zip(self.transformer_blocks, self.controlnet_blocks, strict=True):
            state = through(block, state, ctx)  # pyright: ignore[reportArgumentType]  # an ImageBlock has no long text
            found.append(layer(state.image) * hint.weight)
        return tuple(found)
