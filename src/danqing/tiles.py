"""Pictures larger than a network sees at once: overlapping windows, each computed by itself, joined by a weighted mean.

Of windows F_i and their answers y_i the joined picture J is the least squares solution of ``sum_i ‖W_i (F_i J -
y_i)‖²``:

    J = sum_i W_i F_i^T y_i / sum_j W_j                  (Bar-Tal et al. 2023, MultiDiffusion, equation 5)

Windows go through the network one at a time, so that memory is that of one whatever the picture's size. `Tiled` wraps a
codec and is one, `in_tiles` wraps a denoiser and is called like one. A picture that one window holds passes through
untouched, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product, starmap
from math import ceil, pi

import torch
from torch import Tensor

from .codec import Codec
from .errors import InvalidInput
from .guide import Conditioned
from .types import Conditioning, Denoised, merge

#: A part of a tensor (..., k·h, k·w), for every k: the same window of a latent, of what stands beside it, and of its
#: picture.
Cut = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Side:
    """Windows along one side of a picture, evenly spread, the last one ending where the picture ends.

    Args:
        length: of the side, in cells.
        tile: of a window, at most the length.
        overlap: of neighbours, at least; below the tile.
        closing: the side's end continues in its beginning; then there are at least two windows, for one would leave the
            ends apart.
    """

    length: int
    tile: int
    overlap: int
    closing: bool = False

    @property
    def starts(self) -> list[int]:
        """The first cell of each window; along a closing side windows go on beyond the end."""
        step, rest = self.tile - self.overlap, self.length - self.tile
        if self.closing:
            count = max(2, ceil(self.length / step))
            return [i * self.length // count for i in range(count)]
        count = ceil(rest / step)
        return [i * rest // count for i in range(count)] + [rest]

    def cells(self, start: int, unit: int = 1) -> Tensor:
        """Where the ``tile · unit`` numbers of a window lie among the ``length · unit`` of the side."""
        return (start * unit + torch.arange(self.tile * unit)) % (self.length * unit)

    def weights(self, unit: int = 1) -> list[Tensor]:
        """Of each window its weights, (tile · unit,) in float64: at every cell those of all windows add up to one.

        They rise as sin² over the middle half of the overlap. In its outer quarter, the window's own edge where a
        network knows least,
        they are 0: what reaches no further than that quarter is joined as if whole.
        """
        near = torch.arange(self.tile * unit, dtype=torch.float64) + 0.5
        halo = self.overlap * unit // 4
        rise = ((near - halo) / (self.overlap * unit - 2 * halo)).clamp(0, 1).mul(pi / 2).sin().square()
        one = torch.ones_like(rise)
        starts, last = self.starts, self.length - self.tile
        shapes = [
            (rise if self.closing or start > 0 else one) * (rise.flip(0) if self.closing or start < last else one)
            for start in starts
        ]
        total = torch.zeros(self.length * unit, dtype=torch.float64)
        for start, shape in zip(starts, shapes, strict=True):
            total[self.cells(start, unit)] += shape
        return [shape / total[self.cells(start, unit)] for start, shape in zip(starts, shapes, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How pictures are parted into windows, and joined.

    Args:
        tile: cells along the sides of a window; None sees the picture whole.
        closing: the right edge continues in the left one.
        share: of a window that it overlaps its neighbours by at least, 0 < share < 1.

    Raises:
        InvalidInput: a tile too small to overlap.
    """

    tile: int | None = None
    closing: bool = False
    share: float = 0.5

    def __post_init__(self):
        if self.tile is not None and not 1 <= int(self.tile * self.share) < self.tile:
            raise InvalidInput(
                f"a tile of {self.tile} cells with {self.share:g} of it shared was given; possible are at least 2 cells"
            )

    def sides(self, height: int, width: int) -> tuple[Side, Side]:
        """The windows of a picture of so many cells, by rows and by columns."""

        def side(length: int, closing: bool) -> Side:
            tile = min(self.tile or length, length)
            return Side(length, tile, int(tile * self.share), closing and length > 1)

        return side(height, False), side(width, self.closing)

    def cuts(self, size: Sequence[int]) -> list[Cut]:
        """Of each window of a picture of (height, width) cells what cuts it out, row by row."""
        height, width = size
        down, across = self.sides(height, width)
        if len(down.starts) == len(across.starts) == 1:
            return [whole]

        def window(top: int, left: int) -> Cut:
            def cut(x: Tensor) -> Tensor:
                unit = x.shape[-1] // width
                if x.shape[-2:] != (height * unit, width * unit):
                    given = f"a map of {x.shape[-1]}×{x.shape[-2]} was given for a picture of {width}×{height} cells"
                    raise InvalidInput(f"{given}; possible are whole multiples of both")
                rows, columns = (cells.to(x.device) for cells in (down.cells(top, unit), across.cells(left, unit)))
                return x.index_select(-2, rows).index_select(-1, columns)

            return cut

        return [window(top, left) for top in down.starts for left in across.starts]

    def join(self, size: Sequence[int], parts: Iterable[Tensor]) -> Tensor:
        """The answers (..., k·h, k·w) to all `cuts`, h × w cells each, as one, (..., k·height, k·width)."""
        (height, width), rest = size, iter(parts)
        down, across = self.sides(height, width)
        first = next(rest)
        if len(down.starts) == len(across.starts) == 1:
            return first
        unit = first.shape[-1] // across.tile
        total = first.new_zeros(*first.shape[:-2], height * unit, width * unit)
        rows, columns = (zip(side.starts, side.weights(unit), strict=True) for side in (down, across))
        for ((top, high), (left, wide)), part in zip(product(rows, columns), chain([first], rest), strict=True):
            strip = total.narrow(-2, top * unit, down.tile * unit)
            weight = (high[:, None] * wide).to(part)  # (k·h, k·w)
            strip.index_add_(-1, across.cells(left, unit).to(part.device), part * weight)
        return total

    def joined(self, size: Sequence[int], answer: Callable[[Cut], Tensor]) -> Tensor:
        """`join` of the answers to all `cuts`, one at a time."""
        return self.join(size, map(answer, self.cuts(size)))


def in_tiles(denoiser: Conditioned, tiling: Tiling) -> Conditioned:
    """A denoiser that sees no more than a window at once; ``cond.concat`` and ``cond.maps`` are cut as x is, and every
    window is given all of the text and of ``cond.extra``.

    Where a window lies is told as ``cond.extra["where"]``, `places` of its cells, for a network that has an idea of the
    whole, and the how-manieth it is as ``cond.extra["window"]``, (B, 1), for what is kept of each.
    """

    def estimate(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        def estimate(number: int, cut: Cut) -> Denoised:
            if cut is whole:
                return denoiser(x, t, cond)
            where = cut(places(x)).movedim(1, -1).expand(cond.batch, -1, -1, -1)  # (B, h, w, 2)
            concat = None if cond.concat is None else cut(cond.concat)
            extra = {**cond.extra, "where": where, "window": torch.full((cond.batch, 1), number)}
            maps = {name: cut(value) for name, value in cond.maps.items()}
            return denoiser(cut(x), t, replace(cond, concat=concat, extra=extra, maps=maps))

        size = x.shape[-2:]
        return merge(lambda *parts: tiling.join(size, parts), *starmap(estimate, enumerate(tiling.cuts(size))))

    return estimate


def whole(x: Tensor) -> Tensor:
    """The `Cut` of a window that holds all of the picture."""
    return x


def places(x: Tensor) -> Tensor:
    """The middle of each cell of x (..., H, W) across and down, -1 .. 1 from edge to edge: (1, 2, H, W), as
    `grid_sample` reads them."""
    down, across = ((torch.arange(n, dtype=x.dtype, device=x.device) + 0.5) * 2 / n - 1 for n in x.shape[-2:])
    return torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1])[None]


class Tiled:
    """A codec that sees no more than a window at once.

    Autoencoders reach far, and their norms see all of what is given, so that tiles differ from the whole a little;
    docs/large.md has figures.

    Args:
        codec: what is wrapped.
        tiling: in cells of the latent.
    """

    def __init__(self, codec: Codec, tiling: Tiling):
        self.codec, self.tiling = codec, tiling
        self.factor, self.channels, self.scale = codec.factor, codec.channels, codec.scale

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, H/f, W/f); see `codec.Codec.encode`."""
        height, width = image.shape[-2:]
        if height % self.factor or width % self.factor:
            return self.codec.encode(image, noise)  # which says what is possible
        cells = height // self.factor, width // self.factor
        return self.tiling.joined(
            cells, lambda cut: self.codec.encode(cut(image), None if noise is None else cut(noise))
        )

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, h·f, w·f); see `codec.Codec.decode`."""
        return self.tiling.joined(latent.shape[-2:], lambda cut: self.codec.decode(cut(latent)))


#: Cells that neighbouring windows share at least where a codec has no room for the whole.
SHARED = 4
#: The smallest window that it is then seen in, in cells.
LEAST = 16


def fitting(size: Sequence[int], fits: Callable[[int, int], bool]) -> Tiling:
    """The whole, or the largest windows of it that there is room for: the first of k = 1, 2, 3, … in a row, of

        tile = ceil((side + (k - 1) shared) / k)      cells,

    so that the work is little more than that of the whole.

    Args:
        size: of the latent, (height, width) in cells.
        fits: (height, width) of a window -> whether there is room for it.
    """
    longest = max(size)
    for count in range(1, longest):
        tile = ceil((longest + (count - 1) * SHARED) / count)
        if tile <= LEAST or fits(min(tile, size[0]), min(tile, size[1])):
            return Tiling() if count == 1 else Tiling(tile=tile, share=(SHARED + 0.5) / tile)
    return Tiling()


class Fitting:
    """A codec that sees window by window what it has no room for whole, and says so.

    Args:
        codec: what is wrapped.
        fits: (height, width) in cells -> whether there is room to decode so much at once.
        say: takes a sentence for the picture's warnings.
    """

    def __init__(self, codec: Codec, fits: Callable[[int, int], bool], say: Callable[[str], object]):
        self.codec, self.fits, self.say = codec, fits, say
        self.factor, self.channels, self.scale = codec.factor, codec.channels, codec.scale

    def encode(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, H/f, W/f); see `codec.Codec.encode`."""
        return self._seen([side // self.factor for side in image.shape[-2:]]).encode(image, noise)

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, h·f, w·f); see `codec.Codec.decode`."""
        return self._seen(latent.shape[-2:]).decode(latent)

    def _seen(self, size: Sequence[int]) -> Codec:
        tiling = fitting(size, self.fits)
        if tiling.tile is None:
            return self.codec
        whole, side = "×".join(str(cells * self.factor) for cells in reversed(size)), tiling.tile * self.factor
        self.say(
            f"there was no room for the autoencoder to see {whole} pixels at once: it saw tiles of {side}, which "
            "changes a picture a little."
        )
        return Tiled(self.codec, tiling)
