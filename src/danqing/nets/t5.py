"""The encoder of T5 1.1, which reads the text of Stable Diffusion 3.

Module names are those of transformers' T5EncoderModel; its `encoder.embed_tokens` is the same table as `shared`, which
alone is here. Source: Raffel et al. 2019, "Exploring the limits of transfer learning with a unified text-to-text
transformer"; for 1.1 the gated feed-forward of Shazeer 2020, "GLU variants improve transformer".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .clip import draw
from .operations import Attend


@dataclass(frozen=True, kw_only=True)
class T5Config:
    """The shape of a `T5`; the defaults are those of 1.1's XXL.

    Args:
        vocab_size: ids are 0 .. vocab_size - 1.
        d_model: D of the tokens.
        d_kv: width of one head; heads need not fill D.
        d_ff: width of the hidden layer of each feed-forward.
        num_layers, num_heads: of the transformer.
        relative_attention_num_buckets: kinds of distances that are told apart, a multiple of 4.
        relative_attention_max_distance: from here on all distances are one; more than a quarter of the buckets.
        layer_norm_epsilon: of all norms.
    """

    vocab_size: int = 32128
    d_model: int = 4096
    d_kv: int = 64
    d_ff: int = 10240
    num_layers: int = 24
    num_heads: int = 64
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6


XXL = T5Config()


class Norm(nn.Module):
    """``w · x / √(mean x² + ε)``, the mean of squares in at least float32, the result in w's dtype. Zhang & Sennrich
    2019."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return self.weight * F.rms_norm(wide, self.weight.shape, eps=self.eps).to(self.weight.dtype)


class Wide(nn.Linear):
    """A linear layer that computes in float32 when its weights are float16."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) -> (…, out), float32 in float16."""
        if self.weight.dtype != torch.float16:
            return super().forward(input)
        return F.linear(input.float(), self.weight.float())


class Attention(nn.Module):
    """``W_o softmax(q kᵀ + bias) v`` over all heads, without the usual scale 1/√d: the weights were drawn for it."""

    def __init__(self, config: T5Config, *, biased: bool):
        super().__init__()
        width, inner = config.d_model, config.num_heads * config.d_kv
        self.heads = config.num_heads
        self.buckets, self.reach = config.relative_attention_num_buckets, config.relative_attention_max_distance
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)
        self.attend = Attend()
        self.relative_attention_bias = nn.Embedding(self.buckets, self.heads) if biased else None

    def bias(self, length: int) -> Tensor:
        """What each head adds to the score of each pair of places, (heads, L, L)."""
        assert self.relative_attention_bias is not None
        table = self.relative_attention_bias
        return table(buckets(length, self.buckets, self.reach).to(table.weight.device)).permute(2, 0, 1)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, D), (B or 1, heads, L, L) -> (B, L, D)."""
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v)
        )  # (B, heads, L, d)
        y = self.attend(q, k, v, bias, scale=1.0)
        return self.o(y.transpose(1, 2).flatten(2))


def buckets(length: int, count: int, reach: int) -> Tensor:
    """The kind of distance from each place i to each place j, (L, L): 0 .. count - 1.

    Half of the buckets are for j <= i, the other half for j > i. Of the n in each half, distances below n/2 have one
    each; the others share theirs on a logarithmic scale that ends at ``reach``. Computed on the CPU, for a logarithm
    that is rounded otherwise on another device would move the borders. Source: Raffel et al. 2019, section 2.1.
    """
    place = torch.arange(length)
    offset = place[None, :] - place[:, None]  # (L, L)
    half, exact = count // 2, count // 4
    distance = offset.abs()
    growth = torch.log(distance.clamp(min=exact).float() / exact) / math.log(reach / exact)  # 0 at exact, 1 at reach
    grown = (exact + (growth * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(distance < exact, distance, grown) + half * (offset > 0)


class GatedGELU(nn.Module):
    """``W_o (gelu(W_0 x) · W_1 x)``, GELU by its tanh approximation.

    The published weights make products with W_o beyond float16's 65504, so that in float16 this sum alone is float32,
    and with it the stream that it is added to, as in transformers.
    """

    def __init__(self, config: T5Config):
        super().__init__()
        self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Wide(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class AttentionLayer(nn.Module):
    """``x + attention(norm(x))``."""

    def __init__(self, config: T5Config, *, biased: bool):
        super().__init__()
        self.SelfAttention = Attention(config, biased=biased)
        self.layer_norm = Norm(config.d_model, config.layer_norm_epsilon)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, D), (B or 1, heads, L, L) -> (B, L, D)."""
        return x + self.SelfAttention(self.layer_norm(x), bias)


class FeedForwardLayer(nn.Module):
    """``x + feed_forward(norm(x))``."""

    def __init__(self, config: T5Config):
        super().__init__()
        self.DenseReluDense = GatedGELU(config)
        self.layer_norm = Norm(config.d_model, config.layer_norm_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    """Attention, then a feed-forward."""

    def __init__(self, config: T5Config, *, biased: bool):
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config, biased=biased), FeedForwardLayer(config)])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, D), (B or 1, heads, L, L) -> (B, L, D)."""
        attention, feed_forward = self.layer
        return feed_forward(attention(x, bias))


class Encoder(nn.Module):
    """The blocks; the first one's table of biases serves them all."""

    def __init__(self, config: T5Config):
        super().__init__()
        self.block = nn.ModuleList(Block(config, biased=i == 0) for i in range(config.num_layers))
        self.final_layer_norm = Norm(config.d_model, config.layer_norm_epsilon)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D), (B, L) -> (B, L, D)."""
        first = cast(AttentionLayer, cast(Block, self.block[0]).layer[0])
        bias = first.SelfAttention.bias(x.shape[1])[None]  # (1, heads, L, L)
        if mask is not None:
            bias = bias.masked_fill(~mask.bool()[:, None, None], torch.finfo(bias.dtype).min)  # (B, heads, L, L)
        for block in self.block:
            x = block(x, bias)
        return self.final_layer_norm(x)


class T5(nn.Module):
    """A transformer that sees a text whole, told where its tokens are by their distances alone.

    ``h_0 = E[ids];  h_i = block_i(h_{i-1}, bias);  tokens = norm(h_n)``.
    Source: Raffel et al. 2019, section 2.1.

    Args:
        config: the shape; `XXL` is at hand.

    Raises:
        InvalidInput: no layers, or distances that cannot be told apart so.
    """

    def __init__(self, config: T5Config):
        super().__init__()
        self.config = config
        count, reach = config.relative_attention_num_buckets, config.relative_attention_max_distance
        if config.num_layers < 1 or count < 4 or count % 4 or reach <= count // 4:
            raise InvalidInput(
                f"a T5 of {config.num_layers} layers with {count} buckets up to a distance of {reach}: give at "
                "least one layer, "
                f"a multiple of 4 buckets, and a distance above a quarter of them"
            )
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Encoder(config)
        self.begin()

    def begin(self) -> None:
        """Draw the weights as T5's were: without a scale in the attention, its queries start small by 1/√d."""
        config = self.config
        inner = config.num_heads * config.d_kv
        variance = {"shared": 1.0, "q": 1 / (config.d_model * config.d_kv), "o": 1 / inner, "wo": 1 / config.d_ff}
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                draw(layer.weight, variance.get(name.rpartition(".")[-1], 1 / config.d_model))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode texts: (B, L) -> tokens (B, L, D).

        Args:
            ids: integers in 0 .. vocab_size - 1. A text ends with 1 and is filled up with 0. There is no longest L.
            mask: (B, L), true or 1 for what is read, false or 0 for the filling; without one all is read, as
                Stable Diffusion 3 does. The tokens of what is not read mean nothing.

        Raises:
            InvalidInput: a mask of another shape.
        """
        if mask is not None and mask.shape != ids.shape:
            raise InvalidInput(f"a mask of {list(mask.shape)} for ids of {list(ids.shape)}: give one value for each id")
        return self.encoder(self.shared(ids), mask)
