"""PuLID: a face as tokens, of what a recogniser says of it and of what an image tower sees of it at five depths, and a
branch that leaves of the picture what the words alone would have made.

Module names are those of the published files, behind an IP-Adapter's. Source: Guo et al. 2024, "PuLID: pure and
lightning ID customization via contrastive alignment", section 3, and its published code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .eva import STATES
from .image_projections import IPAdapterConfig, PerceiverAttention, Projection, mlp
from .ports import Context
from .unet import CrossAttention

#: Of a face's tokens, how many the recogniser's and the tower's summary first become.
FIRST = 5


def layered(*widths: int) -> nn.Sequential:
    """Linear layers from width to width, between them norms and leaky rectifiers."""
    last = len(widths) - 2
    steps = list[nn.Module]()
    for i in range(last + 1):
        steps.append(nn.Linear(widths[i], widths[i + 1]))
        steps += [] if i == last else [nn.LayerNorm(widths[i + 1]), nn.LeakyReLU()]
    return nn.Sequential(*steps)


class PuLID(Projection):
    """Version 1: ``[f(n), g_1(c_1) + mean h_1(p_1), …, g_5(c_5) + mean h_5(p_5)]`` of the numbers n (B, F) and of the
    states of the tower (B, 5, 1 + n, S), c the class token and p the patches: (B, 5 + 5, D)."""

    tower, faces, unit = "states", True, False

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        self.body = layered(config.face, config.inner, config.fed, FIRST * config.width)
        for i in range(STATES):
            for name in (f"mapping_{i}", f"mapping_patch_{i}"):
                self.add_module(name, layered(config.seen, config.hidden, config.hidden, config.width))

    def forward(self, seen: Tensor, face: Tensor) -> Tensor:
        tokens = [self.body(face).unflatten(1, (FIRST, -1))]
        for i in range(STATES):
            own, patches = (self.get_submodule(name) for name in (f"mapping_{i}", f"mapping_patch_{i}"))
            tokens.append(own(seen[:, i, :1]) + patches(seen[:, i, 1:]).mean(1, keepdim=True))
        return torch.cat(tokens, 1)


class PuLIDResampler(Projection):
    """Version 1.1: N latents and the face's own five tokens, filled at each depth from these five and the state of the
    tower there; of the latents ``z W``, (B, N, D)."""

    tower, faces, unit = "states", True, False

    def __init__(self, config: IPAdapterConfig):
        super().__init__(config)
        hidden = config.hidden
        self.latents = nn.Parameter(torch.randn(1, config.tokens, hidden) / max(hidden, 1) ** 0.5)
        self.proj_out = nn.Parameter(torch.randn(hidden, config.width) / max(hidden, 1) ** 0.5)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(hidden, config.attended), mlp(hidden, config.fed)])
            for _ in range(config.depth)
        )
        for i in range(STATES):
            self.add_module(f"mapping_{i}", layered(config.seen, config.inner, config.inner, hidden))
        self.id_embedding_mapping = layered(config.face, config.inner, config.inner, FIRST * hidden)

    def forward(self, seen: Tensor, face: Tensor) -> Tensor:
        own = self.id_embedding_mapping(face).unflatten(1, (FIRST, -1))
        z, each = torch.cat([self.latents.expand(len(own), -1, -1), own], 1), self.config.depth // STATES
        for i in range(STATES):
            context = torch.cat([own, self.get_submodule(f"mapping_{i}")(seen[:, i])], 1)
            for layer in self.layers[each * i : each * (i + 1)]:
                attention, feed = cast(nn.ModuleList, layer)
                z = attention(context, z) + z
                z = feed(z) + z
        return z[:, : self.config.tokens] @ self.proj_out


KINDS: Mapping[str, Callable[[IPAdapterConfig], Projection]] = {"pulid": PuLID, "pulid-resampler": PuLIDResampler}


class Apart(nn.Module):
    """``w (z + (a - 1) ⟨y, z⟩ / ⟨y, y⟩ y)``: what an attention adds of a face, ``z = softmax(q k'ᵀ / √d) v'``, less
    that part of it that lies along what the words say, y; the products are over the queries, one a channel.

    a is 0 where the style counts, else, of each query, how much of ``softmax(q k'ᵀ)``, the mean over the heads, falls
    on the face's first five tokens: where the face is, all of z is added. The tokens are joined by empty ones, which
    draw attention and say nothing. It reads of ``extra`` as `danqing.nets.ip_adapter.Branch` does.

    Args:
        name: its own.
        keys, values: (2, N, C), the values times the weight w.
        layer: the attention that it is put on, which says y.
        empty: how many empty tokens join them.
        faithful: whether a is more than 0.
    """

    def __init__(self, name: str, keys: Tensor, values: Tensor, layer: CrossAttention, *, empty: int, faithful: bool):
        super().__init__()
        self.name, self.faithful = name, faithful
        self._layer = (layer,)  # in a tuple, for it is the module that holds this one
        joined = (F.pad(x, (0, 0, 0, empty)) for x in (keys, values))
        self.keys, self.values = (layer.split(x).contiguous() for x in joined)

    def forward(self, q: Tensor, ctx: Context) -> Tensor:
        """(B, heads, N, d) -> the same."""
        which = ctx.extra.get(self.name)
        if which is None:
            return q.new_zeros(())
        keys, values, (layer,) = self.keys[which].to(q), self.values[which].to(q), self._layer
        z = F.scaled_dot_product_attention(q, keys, values).float()
        y = layer.attend(q, layer.split(layer.to_k(ctx.tokens)), layer.split(layer.to_v(ctx.tokens))).float()
        along = (y * z).sum(-2, keepdim=True) / (y * y).sum(-2, keepdim=True) * y
        return (z + (self._share(q, keys) - 1) * along).to(q)

    def _share(self, q: Tensor, keys: Tensor) -> Tensor | float:
        """a, (B, 1, N, 1)."""
        if not self.faithful:
            return 0.0
        each = (q @ keys.transpose(-2, -1)).float().softmax(-1).mean(1, keepdim=True)
        return each[..., :FIRST].sum(-1, keepdim=True)
