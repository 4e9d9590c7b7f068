"""Cells that are alike attend as one: of the finest grid that attends in a UNet, the self-attentions see fewer cells.

Of each 2×2 cells one is a destination, the others are sources; of the sources the so many that are most like a
destination are merged into the one that they are most like, and after the attention they say what that says:

    merged_j = (x_j + Σ x_i) / (1 + n_j) over the n_j sources i that go to j,   y_i = y_j

Source: Bolya & Hoffman 2023, "Token Merging for Fast Stable Diffusion", sections 3 and 4. Other than there, likeness is
that of what the attention reads, and the destinations are drawn once a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from .unet import Attention, Transformer

#: Sides of the blocks of which each has one destination.
SIDE = 2
#: Of all cells no more are sources, and so none more can be merged.
MOST = 1 - 1 / SIDE**2


class Cells(NamedTuple):
    """The cells of a grid: those that others are merged into, (D,), and the others, (S,)."""

    into: Tensor
    sources: Tensor


def drawn(height: int, width: int, seed: int) -> Cells:
    """Of each whole 2×2 cells of a grid one destination; what is over at an odd edge is a source."""
    high, wide = height // SIDE, width // SIDE
    draw = torch.randint(SIDE**2, (high, wide), generator=torch.Generator().manual_seed(seed))
    rows = SIDE * torch.arange(high)[:, None] + draw // SIDE
    columns = SIDE * torch.arange(wide) + draw % SIDE
    into = (rows * width + columns).flatten()
    left = torch.ones(height * width, dtype=torch.bool)
    left[into] = False
    return Cells(into, left.nonzero()[:, 0])


class Plan(NamedTuple):
    """Which cells of a row of a batch are merged.

    Args:
        stay: the sources that are not, (S - r,), and then the destinations, (D,).
        gone: those that are, (r,).
        to: the place of each one's destination among the destinations, (r,).
        stands: how many cells each destination stands for, (D, 1).
    """

    stay: Tensor
    gone: Tensor
    to: Tensor
    stands: Tensor

    def merged(self, x: Tensor) -> Tensor:
        """(N, C) -> (N - r, C)."""
        wide = torch.float64 if x.dtype in (torch.float32, torch.float64) else torch.float32  # in which sums are exact
        less = len(self.stay) - len(self.stands)
        sums = x[self.stay[less:]].to(wide).index_add(0, self.to, x[self.gone].to(wide))
        return torch.cat([x[self.stay[:less]], (sums / self.stands).to(x.dtype)])

    def parted(self, y: Tensor) -> Tensor:
        """(N - r, C) -> (N, C)."""
        out = y.new_empty(len(self.stay) + len(self.gone), y.shape[-1])
        out[self.stay] = y
        out[self.gone] = y[self.to + (len(self.stay) - len(self.stands))]
        return out


def planned(x: Tensor, cells: Cells, count: int) -> Plan:
    """The sources of one row, (N, C), that are most like a destination: by the cosine."""
    unit = F.normalize(x.float(), dim=-1).to(x.dtype)
    best, to = (unit[cells.sources] @ unit[cells.into].T).max(-1)
    order = best.argsort(descending=True, stable=True)
    gone, kept = order[:count], order[count:].sort().values
    counts = torch.bincount(to[gone], minlength=len(cells.into)) + 1
    return Plan(torch.cat([cells.sources[kept], cells.into]), cells.sources[gone], to[gone], counts[:, None])


def over(layer: Attention, cells: Callable[[], Cells], ratio: float, x: Tensor, source: Tensor) -> Tensor:
    """`Attention.over` of merged cells; what looks at others too, or at too few, is as it is.

    Each row is planned by itself, so that no picture depends on its neighbours.
    """
    own, count = cells(), int(ratio * x.shape[1])
    if source is not x or not 0 < count <= len(own.sources) or not len(own.into):
        return Attention.over(layer, x, source)
    plans = [planned(row, own, count) for row in x]
    few = torch.stack([plan.merged(row) for plan, row in zip(plans, x, strict=True)])
    said = Attention.over(layer, few, few)
    return torch.stack([plan.parted(row) for plan, row in zip(plans, said, strict=True)])


class Grid:
    """The cells of the grid that a transformer was called with."""

    def __init__(self, seed: int):
        self._drawn = lru_cache(maxsize=4)(partial(drawn, seed=seed))

    def look(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        """What is given to the transformer, (B, C, H, W)."""
        x = given[0]
        self._now = Cells(*(each.to(x.device) for each in self._drawn(*x.shape[-2:])))

    def __call__(self) -> Cells:
        return self._now


@dataclass(frozen=True)
class Merge:
    """Called, it has the cells of a network's finest attentions merged; what that returns takes it off.

    Equal ones stand for each other, so that pictures that ask for the same are asked for in one call.

    Args:
        net: a UNet.
        ratio: of the cells, how many are merged, to 0.75.
        seed: by which the destinations are drawn.
    """

    net: nn.Module
    ratio: float
    seed: int = 0

    def __call__(self) -> Callable[[], object]:
        every = [layer for layer in self.net.modules() if type(layer) is Transformer]
        if not every:
            raise InvalidInput(
                f"merge_tokens: a {type(self.net).__name__} has no transformers over grids of cells: leave it out"
            )
        finest = min(layer.norm.num_channels for layer in every)
        off = ExitStack()
        for place, layer in enumerate(every):
            if layer.norm.num_channels == finest:
                off.callback(self._put(layer, self.seed + place))
        return off.close

    def _put(self, layer: Transformer, seed: int) -> Callable[[], None]:
        """Put it on a transformer's attentions to the picture itself."""
        grid = Grid(seed)
        hook = layer.register_forward_pre_hook(grid.look)
        attentions = [cast(Attention, block.attn1) for block in layer.transformer_blocks]
        for attention in attentions:
            vars(attention)["over"] = partial(over, attention, grid, self.ratio)

        def off() -> None:
            hook.remove()
            for attention in attentions:
                del vars(attention)["over"]

        return off
