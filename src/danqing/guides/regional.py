"""Regions: parts of a picture with words of their own. Where several estimates are given, theirs is the weighted mean.

It knows no network: what differs by place are estimates of x_0, so that it goes with every denoiser, adapter and way of
guidance, at the price of a look at the network for each region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..guide import Conditioned
from ..types import Conditioning, Denoise, Denoised, merge

#: How much a region counts in each cell of a picture of so many, (height, width) -> (height, width), from 0.
Shares = Callable[[int, int], Tensor]
#: Left, upper, right, lower, in cells.
Box = tuple[int, int, int, int]
#: How many places of a cell along a side a rectangle is told at.
FINE = 8
#: How many cells, in what their numbers are multiples of, a region's box has along a side at least.
LEAST = 4


@dataclass(frozen=True)
class Rectangle:
    """1 within a box, in parts of the picture, and 0 without; across a rim as wide as ``soft`` of the picture in a
    straight line, but not at the picture's own edge."""

    box: tuple[float, float, float, float]
    soft: float = 0.0

    def __call__(self, height: int, width: int) -> Tensor:
        left, upper, right, lower = self.box
        return self._along(height, upper, lower)[:, None] * self._along(width, left, right)

    def _along(self, cells: int, low: float, high: float) -> Tensor:
        at = (torch.arange(cells * FINE, dtype=torch.float64) + 0.5) / (cells * FINE)
        rim = max(self.soft, 1e-9)
        rise = ((at - low) / rim + 0.5).clamp(0, 1) if low > 0 else torch.ones_like(at)
        fall = ((high - at) / rim + 0.5).clamp(0, 1) if high < 1 else torch.ones_like(at)
        return (rise * fall).view(cells, FINE).mean(1).float()


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a mask says, (H, W) in [0, 1]: in each cell its mean there."""

    mask: Tensor

    def __call__(self, height: int, width: int) -> Tensor:
        return F.interpolate(self.mask[None, None], (height, width), mode="area")[0, 0]


def weighed(shares: Shares, weight: float) -> Shares:
    """So many times a region's shares."""
    return lambda height, width: shares(height, width) * weight


def around(shares: Tensor, multiple: int = 1) -> Box | None:
    """The box of the cells that count, its sides and places multiples of a number and at least `LEAST` of them, as far
    as the picture has so many; None where no cell counts."""
    rows, columns = (shares.amax(axis).nonzero()[:, 0] for axis in (1, 0))
    if not len(rows):
        return None

    def side(found: Tensor, cells: int) -> tuple[int, int]:
        low, high = int(found[0]) // multiple, -(-(int(found[-1]) + 1) // multiple)
        missing = max(0, LEAST - (high - low))
        low = max(0, min(low - missing // 2, -(-cells // multiple) - LEAST))
        return low * multiple, min(max(high, low + LEAST) * multiple, cells)

    (upper, lower), (left, right) = side(rows, shares.shape[0]), side(columns, shares.shape[1])
    return left, upper, right, lower


def within(denoiser: Conditioned, shares: Shares, multiple: int = 1) -> Conditioned:
    """A denoiser that sees of a picture no more than the box `around` a region, as a picture of its own; without it
    estimates are 0, and nobody reads them. ``cond.concat`` and ``cond.maps`` are cut as x is."""

    def estimate(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        height, width = x.shape[-2:]
        box = around(shares(height, width), multiple)
        if box is None or box == (0, 0, width, height):
            return denoiser(x, t, cond)
        left, upper, right, lower = box

        def cut(v: Tensor) -> Tensor:
            unit = v.shape[-1] // width
            return v[..., upper * unit : lower * unit, left * unit : right * unit]

        def back(v: Tensor) -> Tensor:
            return F.pad(v, (left, width - right, upper, height - lower))

        concat = None if cond.concat is None else cut(cond.concat)
        maps = {name: cut(value) for name, value in cond.maps.items()}
        return merge(back, denoiser(cut(x), t, replace(cond, concat=concat, maps=maps)))

    return estimate


def regional(rest: Denoise, parts: Sequence[tuple[Shares, Denoise]]) -> Denoise:
    """x_0 = (sum_i m_i x_i + max(0, 1 - sum_i m_i) x_rest) / max(1, sum_i m_i), in every cell.

    An estimate that counts nowhere is not asked for: of one region that is all the picture it is that region's, bit for
    bit. Source: Bar-Tal et al. 2023, MultiDiffusion, section 4.2; regions that see their own box alone (`within`) as in
    Jiménez 2023, Mixture of Diffusers.
    """

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        height, width = x.shape[-2:]
        shares = [of(height, width).to(x.device, torch.promote_types(x.dtype, torch.float32)) for of, _ in parts]
        total = torch.stack(shares).sum(0)
        every = [((1 - total).clamp_min(0), rest), *zip(shares, (one for _, one in parts), strict=True)]
        asked = [(share / total.clamp_min(1), one(x, t)) for share, one in every if share.any()]

        def joined(*values: Tensor) -> Tensor:
            weighed = (share * value for (share, _), value in zip(asked, values, strict=True))
            return torch.stack([*weighed]).sum(0).to(x.dtype)

        return merge(joined, *(found for _, found in asked))

    return denoise if parts else rest
