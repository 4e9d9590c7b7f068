"""IP-Adapter: a picture as a prompt. What an image tower or a recogniser of faces says of it becomes a few tokens,
which every attention to the text reads beside the words, through keys and values of its own.

Module names are those of the published files. Source: Ye et al. 2023, "IP-Adapter: text compatible image prompt adapter
for text-to-image diffusion models", and its published code.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UnknownName
from . import pulid
from .image_projections import PROJECTIONS, IPAdapterConfig, Projection
from .ports import Context
from .unet import CrossAttention

__all__ = ["KEEPERS", "Branch", "IPAdapter", "IPAdapterConfig", "places"]

#: The parts of a UNet in the order in which files count their attentions.
PARTS = ("down_blocks", "up_blocks", "mid_block")
#: What a picture's tokens are made by, of each kind.
KINDS = {**PROJECTIONS, **pulid.KINDS}
#: Those that keep a face, and are no image prompts.
KEEPERS = (*pulid.KINDS, "portrait")


class Change(nn.Module):
    """``W_up W_down``, what is added to a linear layer."""

    def __init__(self, channels: int, out_channels: int, rank: int):
        super().__init__()
        self.down = nn.Linear(channels, rank, bias=False)
        self.up = nn.Linear(rank, out_channels, bias=False)


class IPAdapter(nn.Module):
    """All that a file holds: the projection, and of every attention of the UNet what is its own.

    ``ip_adapter`` counts all attentions: the odd ones attend to the text and have keys and values; with a rank, all
    have changes of their layers.

    Args:
        config: the shape.

    Raises:
        UnknownName: a kind that is none.
    """

    def __init__(self, config: IPAdapterConfig):
        super().__init__()
        if config.kind not in KINDS:
            raise UnknownName("kind of IP-Adapter", config.kind, KINDS)
        self.config = config
        self.image_proj: Projection = KINDS[config.kind](config)
        self.ip_adapter = nn.ModuleDict()
        for i, (channels, source) in enumerate(chain(*(((c, c), (c, config.width)) for c in config.layers))):
            own: dict[str, nn.Module] = {}
            if config.rank:
                ends = {"to_q": channels, "to_k": source, "to_v": source, "to_out": channels}
                own |= {f"{name}_lora": Change(end, channels, config.rank) for name, end in ends.items()}
            if i % 2:
                own |= {name: nn.Linear(source, channels, bias=False) for name in ("to_k_ip", "to_v_ip")}
            if own:
                self.ip_adapter[str(i)] = nn.ModuleDict(own)

    def forward(self, seen: Tensor | None, face: Tensor | None = None) -> Tensor:
        """What is said of B pictures -> their tokens, (B, N, D)."""
        return self.image_proj(seen, face)

    def keys_values(self, tokens: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """(B, N, D) -> what one attention to the text reads, (B, N, C) each; ``place`` as in `places`."""
        own: Any = self.ip_adapter[str(2 * place + 1)]
        return own.to_k_ip(tokens), own.to_v_ip(tokens)


def places(net: nn.Module) -> dict[str, CrossAttention]:
    """The attentions to the text of a UNet by name, in the order in which files count them."""
    found = {name: layer for name, layer in net.named_modules() if isinstance(layer, CrossAttention)}
    return {name: found[name] for part in PARTS for name in found if name.startswith(part)}


class Branch(nn.Module):
    """``m w softmax(q k'ᵀ / √d) v'``, what one attention adds of one picture. Ye et al. 2023, equation 5.

    It reads what is said under its own name: in ``extra``, (B,), which of its keys and values each of the batch reads,
    0 of no picture or of the one to keep away from, 1 of the picture; without that it adds nothing. And in ``maps``,
    under ``name mask``, where if not everywhere, (B, 1, H, W), a grid that halves to the queries'.

    Args:
        name: its own.
        keys, values: (2, N, C), the values times the weight.
        heads: of the attention.
    """

    def __init__(self, name: str, keys: Tensor, values: Tensor, heads: int):
        super().__init__()
        self.name = name
        self.keys, self.values = (x.unflatten(2, (heads, -1)).transpose(1, 2).contiguous() for x in (keys, values))

    def forward(self, q: Tensor, ctx: Context) -> Tensor:
        """(B, heads, N, d) -> the same."""
        which = ctx.extra.get(self.name)
        if which is None:
            return q.new_zeros(())
        y = F.scaled_dot_product_attention(q, self.keys[which].to(q), self.values[which].to(q))
        mask = ctx.extra.get(f"{self.name} mask")
        return y if mask is None else y * over(mask, q.shape[2]).to(q)


def over(mask: Tensor, cells: int) -> Tensor:
    """A mask (B, 1, H, W) over the cells of a grid that its sides are halved to, rounded up: (B, 1, cells, 1), of each
    the mean."""
    height, width = mask.shape[2:]
    while height * width > cells:
        height, width = (height + 1) // 2, (width + 1) // 2
    return F.adaptive_avg_pool2d(mask.float(), (height, width)).flatten(2)[..., None]
