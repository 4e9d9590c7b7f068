"""The colours that stand for all others with the least error: k-means (Lloyd 1982)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InvalidInput


def nearest(colours: Tensor, palette: Tensor) -> Tensor:
    """Which of the palette (K, 3) is nearest to each of the colours (N, 3): (N,), int64."""
    return torch.cat([torch.cdist(part, palette).argmin(1) for part in colours.split(1 << 15)])


def palette(
    colours: Tensor, count: int, noise: torch.Generator, *, steps: int = 20, fixed: Tensor | None = None
) -> Tensor:
    """``count`` colours (K, 3) that minimise sum_n |c_n - nearest|^2, up to a local minimum: no step makes the error
    larger.

    They begin at different colours, drawn at random. One that nothing is nearest to stays where it is.

    Args:
        colours: (N, 3), e.g. bytes as numbers.
        count: K, at most as many as there are different colours.
        fixed: (F, 3) colours that must be in it as they are, such as the white of the ground; they come first.

    Raises:
        InvalidInput: there are too few different colours, or more fixed ones than asked for.
    """
    fixed = colours.new_zeros(0, 3) if fixed is None else fixed.to(colours)
    different = torch.unique(colours, dim=0)
    different = different[~(different[:, None] == fixed).all(2).any(1)]
    if not len(fixed) <= count <= len(different) + len(fixed):
        raise InvalidInput(
            f"{count} colours were asked for, of {len(different) + len(fixed)} different ones, {len(fixed)} of "
            "them fixed"
        )
    first = torch.randperm(len(different), generator=noise)[: count - len(fixed)]
    found = torch.cat([fixed, different[first.to(colours.device)]])
    for _ in range(steps):
        which = nearest(colours, found)
        sums = torch.zeros_like(found).index_add_(0, which, colours)
        members = torch.bincount(which, minlength=count)[:, None]
        means = torch.where(members > 0, sums / members.clamp(min=1), found)
        found = torch.cat([fixed, means[len(fixed) :]])
    return found
