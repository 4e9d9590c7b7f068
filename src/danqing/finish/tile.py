"""A large picture through a network piece by piece: as if whole, in the memory of one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import InvalidInput

#: The side of what a measured piece keeps, and the least halo that is tried.
CORE, LEAST = 16, 16


class Span(NamedTuple):
    """A piece along one side: what is kept of it, and what is read for that, both as [start, stop)."""

    start: int
    stop: int
    before: int
    after: int


class Window(NamedTuple):
    """A piece of a picture.

    Args:
        rows, columns: of the picture.
    """

    rows: Span
    columns: Span


def spans(length: int, tile: int, halo: int, multiple: int = 1) -> list[Span]:
    """Pieces along one side that are kept side by side and read with a halo, as far as the picture goes.

    Args:
        length: of the side, a multiple of ``multiple``.
        tile: at most so much is read at once.
        halo: what is read around what is kept.
        multiple: every border is one of it.

    Raises:
        InvalidInput: nothing of a piece is left between its halos.
    """
    halo = ceil(halo / multiple) * multiple
    if length <= tile:
        return [Span(0, length, 0, length)]
    room = (tile - 2 * halo) // multiple * multiple
    if room < multiple:
        raise InvalidInput(
            f"a tile of {tile} pixels with {halo} of its neighbours on each side has no pixel of its own: use "
            f"{4 * halo}"
        )
    pieces = ceil(length / room)
    step = ceil(length / pieces / multiple) * multiple  # pieces of about one size
    starts = range(0, length, step)
    return [Span(a, b := min(a + step, length), max(0, a - halo), min(length, b + halo)) for a in starts]


def windows(height: int, width: int, tile: int, halo: int, multiple: int = 1) -> Iterator[Window]:
    """The pieces of a picture, row by row; see `spans`."""
    columns = spans(width, tile, halo, multiple)
    for rows in spans(height, tile, halo, multiple):
        for column in columns:
            yield Window(rows, column)


def kept(answer: Tensor, window: Window, scale: int) -> Tensor:
    """What is kept of the answer (..., s·h, s·w) to a window's (..., h, w)."""
    rows, columns = (slice(scale * (s.start - s.before), scale * (s.stop - s.before)) for s in window)
    return answer[..., rows, columns]


def needed_halo(
    net: Callable[[Tensor], Tensor], channels: int, reach: int, *, scale: int, tolerance: float = 1e-3
) -> int:
    """The halo with which pieces of this network agree with the whole.

    Deep networks reach far, 350 pixels in ESRGAN's, but what is far matters little. How little is measured, on white
    noise: a halo is enough where twice as much changes the answer by less than a quarter of ``tolerance``; the rest is
    left for what is further.

    Args:
        net: (1, C, h, w) in [0, 1] -> (1, C', s·h, s·w), in float32.
        channels: C.
        reach: beyond it nothing matters at all, or no more is wanted.
        scale: s.
        tolerance: of the answer, whose range is 1.
    """
    halo = LEAST
    while halo < reach:
        side = CORE + 4 * halo
        noise = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
        middle = slice(halo, side - halo)
        near = _middle(net(noise[..., middle, middle]), scale)
        answer = _middle(net(noise), scale)
        if not (near - answer).abs().max() > tolerance / 4:  # also where they are no numbers, which no halo mends
            return halo
        halo *= 2
    return reach


def _middle(answer: Tensor, scale: int) -> Tensor:
    edge = (answer.shape[-1] - scale * CORE) // 2
    return answer[..., edge : answer.shape[-1] - edge, edge : answer.shape[-1] - edge]
