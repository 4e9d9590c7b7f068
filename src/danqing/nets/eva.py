"""EVA02-CLIP's image tower: a transformer whose patches are turned by where they lie, with gated MLPs.

Module names are those of the published files. Source: Fang et al. 2023, "EVA-02: a visual representation for neon
genesis", section 2; Sun et al. 2023, "EVA-CLIP"; Su et al. 2021, "RoFormer", section 3.2.2 (the turns), and EVA-CLIP's
published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput

#: Epsilon of all norms; width of a head; the base of the turns' wavelengths.
EPS, HEAD, BASE = 1e-6, 64, 10000.0
#: How many states on the way are told.
STATES = 5


@dataclass(frozen=True, kw_only=True)
class EVAVisionConfig:
    """The shape of an `EVAVision`; the defaults are those of EVA02-CLIP-L-14-336.

    Args:
        hidden_size: D, a multiple of 64, the width of a head.
        intermediate_size: width of the hidden layer of each MLP.
        num_hidden_layers: of the transformer, 6 at least.
        image_size: side of the picture in pixels, a multiple of patch_size.
        patch_size: side of a patch in pixels.
        projection_dim: P of the space that it shares with words.
        trained_grid: patches a side of the pictures that it was first trained on, over which positions are spread.
    """

    hidden_size: int = 1024
    intermediate_size: int = 2730
    num_hidden_layers: int = 24
    image_size: int = 336
    patch_size: int = 14
    projection_dim: int = 768
    trained_grid: int = 16


class Seen(NamedTuple):
    """What the tower says of B pictures: ``states`` (B, 5, 1 + n, D), after each sixth of the layers but the last, the
    class token first; ``projected`` (B, P)."""

    states: Tensor
    projected: Tensor


class EVAVision(nn.Module):
    """The tower: pictures as CLIP's towers are shown them, (B, 3, S, S) -> `Seen`.

    Args:
        config: the shape.

    Raises:
        InvalidInput: widths or sides that do not divide, or fewer than 6 layers.
    """

    def __init__(self, config: EVAVisionConfig):
        super().__init__()
        if config.hidden_size % HEAD or config.image_size % config.patch_size or config.num_hidden_layers <= STATES:
            raise InvalidInput(
                f"an image tower of EVA's of {config} cannot be: its width is a multiple of {HEAD}, its picture's side "
                f"one of its patch's, and it has more than {STATES} layers"
            )
        self.config = config
        width, side = config.hidden_size, config.image_size // config.patch_size
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, config.patch_size, config.patch_size)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, side * side + 1, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width, EPS)
        self.head = nn.Linear(width, config.projection_dim)

    def forward(self, pixels: Tensor) -> Seen:
        size, every = self.config.image_size, self.config.num_hidden_layers // (STATES + 1)
        if pixels.shape[-2:] != (size, size):
            raise InvalidInput(f"a picture of {tuple(pixels.shape[-2:])} px does not fit: make it {size}×{size}")
        x = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        turns, states = angles(size // self.config.patch_size, self.config.trained_grid).to(x.device), list[Tensor]()
        for i, block in enumerate(self.blocks, 1):
            x = block(x, turns)
            if i % every == 0 and len(states) < STATES:
                states.append(x)
        return Seen(torch.stack(states, 1), self.head(self.norm(x)[:, 0]))


def angles(side: int, trained: int) -> Tensor:
    """By which angle each pair of numbers of a head turns at each patch, (side², 32): ``p / 10000^(i / 16)``, i = 0 ..
    15, p the patch's row for the first half and its column for the second, in parts of the grid of training."""
    place = torch.arange(side, dtype=torch.float32) / side * trained
    turn = place[:, None] / BASE ** (torch.arange(0, HEAD // 2, 2, dtype=torch.float32) / (HEAD // 2))
    rows, columns = turn[:, None].expand(-1, side, -1), turn[None].expand(side, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """(B, heads, 1 + n, 64): each pair of neighbours by its angle (n, 32), the class token as it is."""
    first, rest = x[:, :, :1], x[:, :, 1:].unflatten(-1, (-1, 2))
    a, b = rest.unbind(-1)
    cos, sin = turns.cos().to(x), turns.sin().to(x)
    return torch.cat([first, torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)], 2)


class Block(nn.Module):
    """``x += attention(norm1(x)); x += mlp(norm2(x))``."""

    def __init__(self, config: EVAVisionConfig):
        super().__init__()
        width = config.hidden_size
        self.norm1, self.norm2 = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.attn = Attention(width)
        self.mlp = Gated(width, config.intermediate_size)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), turns)
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """``W_o norm(softmax(q kᵀ / 8) v)``, q and k turned by where their patches lie; keys have no bias."""

    def __init__(self, width: int):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.inner_attn_ln = nn.LayerNorm(width, EPS)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        every = self.q_proj(x) + self.q_bias, self.k_proj(x), self.v_proj(x) + self.v_bias
        q, k, v = (y.unflatten(2, (-1, HEAD)).transpose(1, 2) for y in every)
        y = F.scaled_dot_product_attention(turned(q, turns), turned(k, turns), v)
        return self.proj(self.inner_attn_ln(y.transpose(1, 2).flatten(2)))


class Gated(nn.Module):
    """``W_3 norm(silu(W_1 x) · W_2 x)``."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(width, inner), nn.Linear(width, inner), nn.Linear(inner, width)
        self.ffn_ln = nn.LayerNorm(inner, EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.ffn_ln(cast(Tensor, F.silu(self.w1(x)) * self.w2(x))))
