"""Small convolutions in bf16 of any stride: ours where there is a kernel, oneDNN's elsewhere."""

from __future__ import annotations

import struct
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .linear import MOST
from .tensors import distance, plain

#: The struct Direct of kernels/direct.cpp.
CALL = struct.Struct("@4P10qPq")
#: Outputs that are computed together, as in kernels/direct.cpp.
PANEL = 64


class Taps(NamedTuple):
    """The kernels of a convolution as `direct` wants them.

    Args:
        outputs: their number.
        side: S of their S × S taps.
        panels: in the order of kernels/direct.cpp, the last panel filled with zeros.
    """

    outputs: int
    side: int
    panels: Tensor


def taps(weight: Tensor) -> Taps | None:
    """A weight (O, C, S, S) for `direct`; None where ours does not multiply by it: of an odd number of inputs, or of
    more numbers than stay near in the cache."""
    outputs, inputs, *sides = weight.shape
    if weight.dtype != torch.bfloat16 or inputs % 2 or sides[0] != sides[1] or not 0 < weight.numel() <= MOST:
        return None
    return Taps(outputs, sides[0], _panels(weight)) if plain(weight) and not KERNEL.reason() else None


def _panels(weight: Tensor) -> Tensor:
    full = F.pad(weight.flatten(2), (0, 0, 0, 0, 0, -weight.shape[0] % PANEL))
    return full.unflatten(0, (-1, PANEL)).unflatten(2, (-1, 2)).permute(0, 4, 2, 1, 3).contiguous()


def direct(x: Tensor, packed: Taps, bias: Tensor | None, stride: int, padding: int) -> Tensor | None:
    """The convolution of as many steps and zeros down as across, as `torch.nn.functional.conv2d`, rounded once; None
    where memory is short. The same bytes come for the same picture whatever the batch and the number of threads.

    Args:
        x: (B, C, H, W), bf16, channels-last, of the CPU, without a gradient.
        packed: `taps` of the weight.
        bias: (O,), bf16.
    """
    KERNEL.reason()  # opens it anew where it was forgotten since
    return _call(KERNEL, x, packed, bias, stride, padding)


def _call(kernel: Kernel, x: Tensor, packed: Taps, bias: Tensor | None, stride: int, padding: int) -> Tensor | None:
    batch, inputs, height, width = x.shape
    high, broad = ((side + 2 * padding - packed.side) // stride + 1 for side in (height, width))
    shape = (batch, packed.outputs, high, broad)
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    call = CALL.pack(
        *(x.data_ptr(), packed.panels.data_ptr(), 0 if bias is None else bias.data_ptr(), out.data_ptr()),
        *(batch, height, width, inputs, packed.outputs, packed.side, stride, padding, high, broad),
        *(pool(), threads(out.numel() * inputs)),
    )
    return None if kernel.functions["direct"](call) else out


def test(kernel: Kernel) -> float:
    """A picture of odd sides, with outputs that fill neither a vector nor a panel."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, 38, 9, 6), (91, 38, 3, 3), (91,))
    x, weight, bias = (torch.randn(shape, generator=draw).bfloat16() for shape in shapes)
    ours = _call(kernel, x.contiguous(memory_format=torch.channels_last), Taps(91, 3, _panels(weight)), bias, 2, 1)
    if ours is None:
        return float("inf")
    exact = F.conv2d(x.double(), weight.double(), bias.double(), 2, 1)
    rounding = torch.finfo(x.dtype).eps * float(exact.abs().max())
    return distance(ours, F.conv2d(x, weight, bias, 2, 1), exact, rounding)


KERNEL = Kernel("direct", ("direct",), test, 4)
