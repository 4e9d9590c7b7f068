"""Convolution by 3 x 3 kernels in fp32 by Winograd's algorithm: ours where there is a kernel, torch's elsewhere."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InvalidInput
from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Convolution of kernels/winograd.cpp.
CALL = struct.Struct("@4P5qPq")
#: G of F(4 x 4, 3 x 3): rows (1, p, p^2) / prod_{q != p} (p - q) of the points p = 0, ±1/√2, ±√2, and infinity.
POINTS = (
    (1, 0, 0),
    (-2 / 3, -math.sqrt(2) / 3, -1 / 3),
    (-2 / 3, math.sqrt(2) / 3, -1 / 3),
    (1 / 6, math.sqrt(2) / 6, 1 / 3),
    (1 / 6, -math.sqrt(2) / 6, 1 / 3),
    (0, 0, 1),
)
#: Outputs that are computed together, and inputs that are summed at once, as in kernels/winograd.cpp.
TOGETHER, PART = 64, 64


@dataclass(frozen=True, eq=False)
class Packed3x3:
    """The kernels of a convolution as `convolution3x3` wants them.

    Args:
        outputs: their number.
        inputs: channels that each looks at.
        panels: transformed, 4 times the memory of the weight; None where torch computes.
        weight: (outputs, inputs, 3, 3), for what torch has to compute; None if it was let go.
    """

    outputs: int
    inputs: int
    panels: Tensor | None
    weight: Tensor | None


def pack3x3(weight: Tensor, keep: bool = True) -> Packed3x3:
    """Transform the kernels of a convolution once, for many calls.

    Args:
        weight: (O, C, 3, 3).
        keep: keep the weight too, so that torch can compute what the kernel does not take; without a kernel it is kept
            in any case.
    """
    outputs, inputs = weight.shape[:2]
    fit = weight.dtype == torch.float32 and weight.dim() == 4 and weight.shape[2:] == (3, 3)
    if not fit or not plain(weight.detach()) or weight.numel() == 0 or KERNEL.reason():
        return Packed3x3(outputs, inputs, None, weight)
    return Packed3x3(outputs, inputs, _panels(KERNEL, weight.detach()), weight if keep else None)


def _panels(kernel: Kernel, weight: Tensor) -> Tensor:
    """G g G^T in float64, in the order of kernels/winograd.cpp; the last group is filled with zeros."""
    outputs, inputs = weight.shape[:2]
    width = kernel.functions["panel"](b"")
    points = torch.tensor(POINTS, dtype=torch.float64)
    found = torch.zeros(-(-outputs // TOGETHER), 36, inputs * TOGETHER)
    for group, part in zip(found, weight.split(TOGETHER), strict=True):  # group by group, for the memory
        moved = torch.einsum("ya,ocab,xb->yxco", points, part.double(), points).flatten(0, 1).float()
        moved = (
            F.pad(moved, (0, TOGETHER - len(part))).unflatten(2, (-1, width)).transpose(1, 2)
        )  # 36, panels, C, width
        torch.cat([each.flatten(1) for each in moved.split(PART, dim=2)], dim=1, out=group)
    return found


def convolution3x3(x: Tensor, packed: Packed3x3, bias: Tensor | None = None) -> Tensor:
    """The convolution of stride 1 and padding 1, as `torch.nn.functional.conv2d`.

    Winograd's sums are a few times less exact than direct ones (2e-6 of the largest against 1e-6). With a kernel the
    same bytes come for the same picture whatever the batch and the number of threads.

    Args:
        x: (B, C, H, W), fp32; fastest when channels-last, as the answer is.
        packed: the kernels.
        bias: (O,).

    Raises:
        InvalidInput: torch has to compute it, and the weight was not kept.
    """
    if (
        packed.panels is not None
        and x.dim() == 4
        and x.dtype == torch.float32
        and x.shape[1] == packed.inputs
        and x.numel() > 0
        and plain(x, *(() if bias is None else (bias,)))
        and (bias is None or (bias.dtype == torch.float32 and bias.shape == (packed.outputs,) and bias.is_contiguous()))
    ):
        out = computed(KERNEL, x, packed.panels, packed.outputs, bias)
        if out is not None:
            return out
    if packed.weight is None:
        raise InvalidInput(
            f"a convolution of {packed.inputs} to {packed.outputs} channels keeps its packed weights alone, which take "
            f"fp32 pictures on the CPU without gradients; {tuple(x.shape)} of {x.dtype} on {x.device} was given"
        )
    return F.conv2d(x, packed.weight, bias, padding=1)


def computed(kernel: Kernel, x: Tensor, panels: Tensor, outputs: int, bias: Tensor | None) -> Tensor | None:
    """The kernel's answer; None where memory is short."""
    x = x.contiguous(memory_format=torch.channels_last)
    batch, inputs, height, width = x.shape
    out = torch.empty((batch, outputs, height, width), memory_format=torch.channels_last)
    call = CALL.pack(
        *(x.data_ptr(), panels.data_ptr(), 0 if bias is None else bias.data_ptr(), out.data_ptr()),
        *(batch, height, width, inputs, outputs),
        pool(),
        threads(x.numel() * outputs),
    )
    return None if kernel.functions["convolution"](call) else out


def test(kernel: Kernel) -> float:
    """A picture whose edges cut tiles, with channels that fill no vector."""
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=draw) for shape in ((2, 21, 9, 6), (70, 21, 3, 3), (70,)))
    ours = computed(kernel, x, _panels(kernel, weight), 70, bias)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    if ours is None:
        return float("inf")
    rounding = torch.finfo(torch.float32).eps * float(exact.abs().max())
    return distance(ours, F.conv2d(x, weight, bias, padding=1), exact, rounding)


KERNEL = Kernel("winograd", ("panel", "convolution"), test, 16)
