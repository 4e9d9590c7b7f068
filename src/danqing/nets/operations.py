"""Operations without weights that networks own as layers, so that an engine may compute them in another way."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attend(nn.Module):
    """Softmax attention, ``y = softmax(scale q kᵀ + mask) v``. Source: Vaswani et al. 2017, section 3.2.1."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        """(B, heads, N, d), (B, heads, M, d), (B, heads, M, d) -> (B, heads, N, d).

        Args:
            mask: broadcasts to (B, heads, N, M): true where a key is seen, or numbers that are added.
            scale: 1 / √d where not given.
        """
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


class Gated(nn.Module):
    """One half of each row times the GELU of the other, ``y = a · gelu(b)``. Source: Shazeer 2020."""

    def forward(self, x: Tensor) -> Tensor:
        """Rows [a, b], (…, 2C) -> (…, C)."""
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class Activated(nn.Module):
    """SiLU of a norm, ``y = silu(norm(x))``; the norm is whoever asks's own."""

    def forward(self, norm: nn.Module, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape."""
        return F.silu(norm(x))


class Added(nn.Module):
    """A layer's answer and something beside it, ``y = layer(x) + other``; the layer is whoever asks's own."""

    def forward(self, layer: nn.Module, x: Tensor, other: Tensor) -> Tensor:
        """(B, ...) -> the shape of what the layer answers; ``other`` broadcasts to it."""
        return other + layer(x)
