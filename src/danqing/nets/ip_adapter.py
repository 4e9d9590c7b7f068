"""IP-Adapter: a picture as a prompt. What an image tower or a recogniser of faces says of it becomes a few tokens,
which every attention to the text reads beside the words, through keys and values of its own.

Module names are those of the published files. Source: Ye et al. 2023, "IP-Adapter: text compatible image prompt adapter
for text-to-image diffusion models", and its published code for what came later (Plus, full face, FaceID).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UnknownName
from .ports import Context
from .unet import CrossAttention

#: Width of a head of the resampler's attention.
HEAD = 64
#: The parts of a UNet in the order in which files count their attentions.
PARTS = ("down_blocks", "up_blocks", "mid_block")


@dataclass(frozen=True, kw_only=True)
class IPAdapterConfig:
    """The shape of an `IPAdapter`; the defaults are those of the first one published, for Stable Diffusion 1.

    Args:
        kind: "base", "full-face", "plus", "face-id" or "face-id-plus": a row of `PROJECTIONS`.
        tokens: N that a picture becomes; 0 for as many as the tower says of it ("full-face").
        width: D of the text tokens of the UNet.
        seen: of what is read of the image tower; 0 where nothing is.
        face: of what is read of the recogniser of faces; 0 where nothing is.
        inner: of the hidden layer of "full-face" and of the faces' projection.
        hidden, depth, attended, fed: of the resampler: its width, layers, all its heads together, and the hidden layer
            of its MLPs.
        layers: width of every attention to the text of the UNet, in the order of `places`.
        rank: of the changes of all attentions that the file holds beside (FaceID); 0 for none.
    """

    kind: str = "base"
    tokens: int = 4
    width: int = 768
    seen: int = 1024
    face: int = 0
    inner: int = 0
    hidden: int = 0
    depth: int = 0
    attended: int = 0
    fed: int = 0
    layers: tuple[int, ...] = (320, 320, 640, 640, 1280, 1280, *(1280,) * 3, *(640,) * 3, *(320,) * 3, 1280)
    rank: int = 0


class Projection(nn.Module):
    """What is said of a picture to tokens, as ``forward(seen, face)``, each (B, …) or None where it is not read.

    Args:
        config: of the adapter.
    """

    #: Of the image tower: "projected", "tokens" of the layer before the last, or nothing; and whether a face is read.
    tower: str = ""
    faces: bool = False
    #: Whether the numbers of a face are brought to length 1.
    unit: bool = True
    #: Whether a face's own tokens are added to those filled from it: version 2 of "face-id-plus", by its name alone.
    shortcut: bool = False

    def __init__(self, config: IPAdapterConfig):
        super().__init__()
        self.config = config


class Base(Projection):
    """``norm(W s)`` of the tower's summary s (B, S), as N tokens (B, N, D). Ye et al. 2023, section 3.2.1."""

    tower = "projected"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        self.proj = nn.Linear(config.seen, config.tokens * config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, seen: Tensor, face: Tensor | None = None) -> Tensor:
        return self.norm(self.proj(seen).unflatten(1, (self.config.tokens, -1)))


class FullFace(Projection):
    """``norm(W_2 gelu(W_1 x))`` of every token x of the tower, (B, L, S) -> (B, L, D)."""

    tower = "tokens"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        layers = nn.Linear(config.seen, config.inner), nn.GELU(), nn.Linear(config.inner, config.width)
        self.proj = nn.Sequential(*layers, nn.LayerNorm(config.width))

    def forward(self, seen: Tensor, face: Tensor | None = None) -> Tensor:
        return self.proj(seen)


class PerceiverAttention(nn.Module):
    """``W_o softmax(q kᵀ / √d) v``: queries of the latents, keys and values of what is seen and of the latents.

    Source: Jaegle et al. 2021, as in Alayrac et al. 2022, section 3.1.1.
    """

    def __init__(self, width: int, attended: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, attended, bias=False)
        self.to_kv = nn.Linear(width, 2 * attended, bias=False)
        self.to_out = nn.Linear(attended, width, bias=False)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        """(B, L, H), (B, N, H) -> (B, N, H)."""
        x, latents = self.norm1(x), self.norm2(latents)
        every = self.to_q(latents), *self.to_kv(torch.cat([x, latents], 1)).chunk(2, -1)
        q, k, v = (y.unflatten(2, (-1, HEAD)).transpose(1, 2) for y in every)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Resampler(Projection):
    """Layers of attention and an MLP that fill latents from what is seen, between projections in and out.

    ``z += attention(W_i x, z); z += mlp(z)``, then ``norm(W_o z)``.
    """

    def __init__(self, config: IPAdapterConfig, width: int):
        super().__init__(config)
        self.proj_in = nn.Linear(config.seen, width)
        self.proj_out = nn.Linear(width, config.width)
        self.norm_out = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, config.attended), mlp(width, config.fed)])
            for _ in range(config.depth)
        )

    def filled(self, x: Tensor, latents: Tensor) -> Tensor:
        """(B, L, S), (B, N, H) -> (B, N, D)."""
        x = self.proj_in(x)
        for attention, feed in cast("Any", self.layers):
            latents = attention(x, latents) + latents
            latents = feed(latents) + latents
        return self.norm_out(self.proj_out(latents))


def mlp(width: int, inner: int) -> nn.Sequential:
    """``W_2 gelu(W_1 norm(x))``."""
    linears = nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False)
    return nn.Sequential(nn.LayerNorm(width), *linears)


class Plus(Resampler):
    """N latents that are learned, filled from every token of the tower, (B, L, S) -> (B, N, D); or, of InstantID (Wang
    et al. 2024, section 3.2), from a face (B, F) of any length, as a single token."""

    tower, unit = "tokens", False

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config, config.hidden)
        self.latents = nn.Parameter(torch.randn(1, config.tokens, config.hidden) / max(config.hidden, 1) ** 0.5)
        if config.face:
            self.tower, self.faces = "", True

    def forward(self, seen: Tensor | None, face: Tensor | None = None) -> Tensor:
        x = face[:, None] if face is not None else seen
        assert x is not None
        return self.filled(x, self.latents.expand(len(x), -1, -1))


class FaceID(Projection):
    """``norm(W_2 gelu(W_1 f))`` of a face f (B, F), as N tokens (B, N, D)."""

    faces = True

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        out = nn.Linear(config.inner, config.tokens * config.width)
        self.proj = nn.Sequential(nn.Linear(config.face, config.inner), nn.GELU(), out)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, seen: Tensor | None, face: Tensor) -> Tensor:
        return self.norm(self.proj(face).unflatten(1, (self.config.tokens, -1)))


class FaceIDPlus(FaceID):
    """The tokens of a face, filled from every token of the tower; ``shortcut`` adds them again (version 2)."""

    tower = "tokens"

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        self.perceiver_resampler = Resampler(config, config.width)

    def forward(self, seen: Tensor | None, face: Tensor) -> Tensor:
        assert seen is not None
        tokens = super().forward(None, face)
        filled = self.perceiver_resampler.filled(seen, tokens)
        return tokens + filled if self.shortcut else filled


PROJECTIONS: Mapping[str, Callable[[IPAdapterConfig], Projection]] = {
    "base": Base,
    "full-face": FullFace,
    "plus": Plus,
    "face-id": FaceID,
    "face-id-plus": FaceIDPlus,
}


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
        if config.kind not in PROJECTIONS:
            raise UnknownName("kind of IP-Adapter", config.kind, PROJECTIONS)
        self.config = config
        self.image_proj: Projection = PROJECTIONS[config.kind](config)
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
