"""One half of each row times the GELU of the other, in one pass: ours where there is a kernel for these tensors,
torch's elsewhere."""

from __future__ import annotations

import struct

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Gated of kernels/gated.cpp.
CALL = struct.Struct("@2P3qPq")
DTYPES = (torch.bfloat16, torch.float32)


def gated(x: Tensor) -> Tensor:
    """``a · gelu(b)`` of rows [a, b], (…, 2C) -> (…, C), rounded once; ``gelu(b) = b Φ(b)`` (Hendrycks & Gimpel 2016).

    With a kernel the same bytes come for the same row whatever the batch and the number of threads.

    Args:
        x: contiguous for the kernel, in bf16 or fp32.
    """
    halves = x.numel() > 0 and x.shape[-1] % 2 == 0
    if x.dtype in DTYPES and halves and x.is_contiguous() and plain(x) and not KERNEL.reason():
        return _call(KERNEL, x)
    value, gate = x.chunk(2, dim=-1)
    return value * F.gelu(gate)


def _call(kernel: Kernel, x: Tensor) -> Tensor:
    channels = x.shape[-1] // 2
    out = x.new_empty((*x.shape[:-1], channels))
    at(kernel, x.data_ptr(), out.data_ptr(), out.numel() // channels, channels, x.dtype)
    return out


def at(kernel: Kernel, x: int, out: int, rows: int, channels: int, dtype: torch.dtype) -> None:
    """`gated` of rows of 2 ``channels`` at an address to another."""
    wide = dtype == torch.float32
    kernel.functions["gated"](CALL.pack(x, out, rows, channels, wide, pool(), threads(2 * rows * channels)))


def test(kernel: Kernel) -> float:
    """Rows of an odd size in both precisions, as far out as the answer is not the number itself."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for dtype in DTYPES:
        x = (3 * torch.randn(7, 2 * 331, generator=draw)).to(dtype)
        (value, gate), (exact, of) = x.chunk(2, -1), x.double().chunk(2, -1)
        truth = exact * F.gelu(of)
        rounding = torch.finfo(dtype).eps * float(truth.abs().max())
        found.append(distance(_call(kernel, x), value * F.gelu(gate), truth, rounding))
    return max(found)


KERNEL = Kernel("gated", ("gated",), test, 4)
