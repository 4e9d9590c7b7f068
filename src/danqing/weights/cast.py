"""Numbers of one floating-point type in another, at the speed of memory."""

from __future__ import annotations

import contextlib
import math
import mmap

import torch
from torch import Tensor

#: How many numbers are turned at a time: as fp32 they stay in the processor's cache.
BLOCK = 1 << 18
#: Tensors of at least so many bytes lie in pages of their own.
LARGE = 4 << 20


def cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A floating-point tensor in another type; None, and numbers of other kinds, stay as they are.

    Between two types of 16 bits torch goes number by number, at an eighth of the speed of going through fp32, which
    holds both.
    """
    if dtype is None or not tensor.is_floating_point() or tensor.dtype == dtype:
        return tensor
    if tensor.device.type != "cpu":
        return tensor.to(dtype)
    made = room(tuple(tensor.shape), dtype)
    if tensor.element_size() > 2 or dtype.itemsize > 2:
        return made.copy_(tensor)
    between = torch.empty(min(BLOCK, tensor.numel()))
    for old, new in zip(tensor.reshape(-1).split(BLOCK), made.view(-1).split(BLOCK), strict=True):
        new.copy_(between[: len(old)].copy_(old))
    return made


def room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor whose numbers are still to be written, in huge pages where the system has them: half of the time of
    writing gigabytes for the first time is the system's, page by page."""
    count = math.prod(shape)
    if count * dtype.itemsize < LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(shape, dtype=dtype)
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype, count=count).view(shape)
