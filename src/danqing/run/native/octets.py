"""Linear layers and convolutions of 8-bit weights and inputs of 8 or 16 bits: by our kernel where there is one for
these tensors, else by torch, from the same whole numbers."""

from __future__ import annotations

import struct
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ...weights.bits import Panels, packed, unpacked
from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Bytes of kernels/octets.h.
CALL = struct.Struct("@6P13qPq")
DTYPES = (torch.bfloat16, torch.float32)
#: Of a step, so that there is one over it.
LEAST = 2.0**-100
#: Of so many numbers a sum of products of bytes stays within 32 bits.
MOST = 2**31 // (255 * 127)


def rounded(x: Tensor, dims: tuple[int, ...], bits: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """What comes as whole numbers from 0 to 2^bits - 1, and its step and zero: ``x ≈ step · (u - zero)``.

    The range of the numbers, 0 within it, is divided into equal steps; what is not finite has a step that is NaN.

    Args:
        x: any numbers.
        dims: the axes over which a step is shared.
        bits: 8 or 16.
    """
    wide, most = x.float(), 2**bits - 1
    low, high = wide.amin(dims, True).clamp(max=0), wide.amax(dims, True).clamp(min=0)
    step = ((high - low) / most).clamp(min=LEAST) + (wide * 0).sum(dims, True)
    zero = (-low / step).round()
    return ((wide * (1 / step)).round() + zero).clamp(0, most), step, zero


def multiply(
    x: Tensor, panels: Panels, bias: Tensor | None, stride: int = 1, padding: int = 0, bits: int = 8
) -> Tensor:
    """``W x + b``, or a convolution: W in 8 bits, x in as many as given, sums exact, one rounding at the end.

    A convolution's input has a step for each picture, a linear layer's one for each row, so that what is computed of a
    picture depends on no other. Source: Jacob et al. 2018, section 2.

    Args:
        x: (…, C), or (B, C, H, W).
        panels: of the weight.
        bias: (O,), or None.
        stride, padding: of a convolution.
        bits: 8 or 16.
    """
    if (
        x.dtype in DTYPES
        and x.numel() > 0
        and panels.shape[1:].numel() <= MOST
        and plain(x, panels.values)
        and not KERNEL.reason()
    ):
        out = _call(KERNEL, x, panels, bias, stride, padding, bits)
        if out is not None:
            return out
    return computed(x, panels, bias, stride, padding, bits)


def computed(
    x: Tensor, panels: Panels, bias: Tensor | None, stride: int = 1, padding: int = 0, bits: int = 8
) -> Tensor:
    """The same by torch, in fp32 at least, from the same whole numbers."""
    weight, scale = unpacked(panels)
    kind = torch.promote_types(x.dtype, torch.float32)
    if weight.dim() == 2:
        u, step, zero = rounded(x, (-1,), bits)
        y = F.linear((u - zero).to(kind), weight.to(kind)) * (step * scale)
        return (y if bias is None else y + bias).to(x.dtype)
    u, step, zero = rounded(x, (1, 2, 3), bits)
    y = F.conv2d((u - zero).to(kind), weight.to(kind), stride=stride, padding=padding) * (step * scale[:, None, None])
    return (y if bias is None else y + bias[:, None, None]).to(x.dtype)


def _call(
    kernel: Kernel, x: Tensor, panels: Panels, bias: Tensor | None, stride: int, padding: int, bits: int
) -> Tensor | None:
    """By the kernel; None where there is no memory."""
    outputs, inputs = panels.shape[:2]
    added = panels.scale.new_zeros(panels.scale.shape)
    if bias is not None:
        added[:outputs] = bias
    if linear := len(panels.shape) == 2:
        x = x.contiguous()
        batch, height, width = 1, 1, x.numel() // inputs
        out = x.new_empty((*x.shape[:-1], outputs))
        high, wide = height, width
    else:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, _, height, width = x.shape
        high, wide = ((side + 2 * padding - panels.kernel) // stride + 1 for side in (height, width))
        out = x.new_empty((batch, high, wide, outputs))
    call = CALL.pack(
        x.data_ptr(),
        panels.values.data_ptr(),
        panels.scale.data_ptr(),
        panels.sums.data_ptr(),
        added.data_ptr(),
        out.data_ptr(),
        batch,
        height,
        width,
        inputs,
        outputs,
        high,
        wide,
        panels.kernel,
        stride,
        padding,
        linear,
        bits // 8,
        x.dtype == torch.float32,
        pool(),
        threads(x.numel()),
    )
    if kernel.functions["multiply_bytes"](call):
        return None
    return out if linear else out.permute(0, 3, 1, 2)


def test(kernel: Kernel) -> float:
    """Rows and pictures of odd sizes in both precisions, against the same whole numbers in float64."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for shape, size, stride, padding in (
        ((70, 45), (9, 45), 1, 0),
        ((70, 6, 3, 3), (2, 6, 9, 7), 2, 1),
        ((70, 326, 3, 3), (2, 326, 5, 6), 1, 1),
    ):
        weight = torch.randint(-127, 128, shape, generator=draw, dtype=torch.int8)
        panels = packed(weight, torch.rand(70, generator=draw) / 100)
        for dtype, bits in product(DTYPES, (8, 16)):
            x, bias = (torch.randn(size, generator=draw) + 1).to(dtype), torch.randn(70, generator=draw)
            ours = _call(kernel, x, panels, bias, stride, padding, bits)
            if ours is None:
                return float("inf")
            theirs = computed(x, panels, bias, stride, padding, bits)
            exact = computed(x.double(), panels, bias, stride, padding, bits)
            found.append(distance(ours, theirs, exact, torch.finfo(dtype).eps * float(exact.abs().max())))
    return max(found)


KERNEL = Kernel("octets", ("multiply_bytes",), test, 4)
