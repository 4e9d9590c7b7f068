"""Pictures of several shapes: the sizes that they are cut to, and batches of one size each."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch

from ...noise import keyed

#: Width and height, in pixels.
Size = tuple[int, int]


def sizes(side: int, multiple: int, widest: float = 2.0) -> tuple[Size, ...]:
    """Of every width the largest size of at most ``side``² pixels, both sides multiples of ``multiple``, and neither
    more than ``widest`` times the other; with ``widest`` 1 the square alone.

    Source: NovelAI 2022, "NovelAI improvements on Stable Diffusion", aspect ratio bucketing.
    """
    found = []
    for width in range(multiple, round(side * math.sqrt(widest)) + multiple, multiple):
        height = side * side // width // multiple * multiple
        if height and max(width / height, height / width) <= widest:
            found.append((width, height))
    return tuple(found) or ((side, side),)


def nearest(picture: Size, among: Sequence[Size]) -> Size:
    """The size whose ratio is nearest to a picture's, on a logarithmic scale."""
    ratio = math.log(picture[0] / picture[1])
    return min(among, key=lambda size: abs(math.log(size[0] / size[1]) - ratio))


class Buckets:
    """An endless order of batches, each of items of one shape; a pure function of (seed, index).

    In an epoch every item comes once; where a shape's items do not fill its last batch, its first ones come again.

    Args:
        shapes: of each item, at least one.
        batch: how many a step takes, at least 1.
        seed: another seed, another order.
    """

    def __init__(self, shapes: Sequence[Hashable], batch: int, seed: int | str):
        self.batch, self.seed = batch, seed
        self.groups = [
            [i for i, other in enumerate(shapes) if other == shape] for shape in dict.fromkeys(shapes)
        ]  # in the order of their first items
        self.batches = sum(math.ceil(len(group) / batch) for group in self.groups)
        self._epoch, self._order = -1, list[list[int]]()

    def _at(self, epoch: int) -> list[list[int]]:
        if epoch != self._epoch:
            draw = keyed(self.seed, "epoch", epoch)
            found = []
            for group in self.groups:
                items = [group[i] for i in torch.randperm(len(group), generator=draw).tolist()]
                count = math.ceil(len(items) / self.batch) * self.batch
                filled = [items[i % len(items)] for i in range(count)]
                found += [filled[first : first + self.batch] for first in range(0, count, self.batch)]
            self._order = [found[i] for i in torch.randperm(len(found), generator=draw).tolist()]
            self._epoch = epoch
        return self._order

    def __call__(self, index: int) -> list[int]:
        """The items of a batch, all of one shape."""
        epoch, place = divmod(index, self.batches)
        return self._at(epoch)[place]
