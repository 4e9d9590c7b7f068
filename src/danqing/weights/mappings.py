"""Numbers that are views of a mapped file: what of them lies in memory can be let go, since the file has it still."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor

#: Where each mapping that is alive begins.
_BEGIN: WeakKeyDictionary[mmap.mmap, int] = WeakKeyDictionary()


def remembered(data: mmap.mmap) -> mmap.mmap:
    """The mapping, private and writable, as it is: `let_go` finds its tensors from now on."""
    _BEGIN[data] = ctypes.addressof(ctypes.c_char.from_buffer(data))
    return data


def let_go(tensor: Tensor) -> Tensor:
    """The same numbers, of which nothing but a page shared with a neighbour stays in memory where they are contiguous
    numbers of a mapped file: they come back from there when they are looked at.

    Numbers of any other origin are returned as they are, and a copy of those that somebody has written over, for the
    file does not have them.
    """
    import torch

    for data, first, length in _pages(tensor):
        before = tensor.detach().clone()
        data.madvise(mmap.MADV_DONTNEED, first, length)
        same = torch.equal(before.view(torch.uint8), tensor.detach().view(torch.uint8))
        data.madvise(mmap.MADV_DONTNEED, first, length)
        return tensor if same else before
    return tensor


def put_down(tensor: Tensor) -> Tensor:
    """The same without a look whether somebody has written over them: of numbers that nobody writes to."""
    for data, first, length in _pages(tensor):
        data.madvise(mmap.MADV_DONTNEED, first, length)
    return tensor


def _pages(tensor: Tensor) -> Iterator[tuple[mmap.mmap, int, int]]:
    """The mapping that contiguous numbers are of, and where in it the pages begin that hold nothing else, and how many
    bytes these are; nothing where there are none, or the system lets none go."""
    start, count = tensor.data_ptr(), tensor.numel() * tensor.element_size()
    for data, begin in _BEGIN.items():
        first = -(-(start - begin) // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (start - begin + count) // mmap.PAGESIZE * mmap.PAGESIZE
        within = begin <= start and start + count <= begin + len(data) and tensor.is_contiguous()
        if within and first < last and hasattr(mmap, "MADV_DONTNEED"):
            yield data, first, last - first
            return
