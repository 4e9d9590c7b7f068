"""Convolution by 3 x 3 kernels by Winograd's algorithm: ours where there is a kernel, torch's elsewhere."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InvalidInput
from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Convolution of kernels/winograd.h.
CALL = struct.Struct("@5P8qPq")
#: G of F(2 x 2, 3 x 3): rows (1, p, p^2) / prod_{q != p} (p - q) of the points p = 0, ±1, and infinity, of which the
#: first is -1 times that, as B has it.
TWOS = ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1))
#: G of F(4 x 4, 3 x 3), of the points 0, ±1/√2, ±√2, and infinity.
FOURS = (
    (1, 0, 0),
    (-2 / 3, -math.sqrt(2) / 3, -1 / 3),
    (-2 / 3, math.sqrt(2) / 3, -1 / 3),
    (1 / 6, math.sqrt(2) / 6, 1 / 3),
    (1 / 6, -math.sqrt(2) / 6, 1 / 3),
    (0, 0, 1),
)
#: Outputs that are computed together, as in kernels/winograd.h.
TOGETHER = 64


class Way(NamedTuple):
    """How the convolutions of one precision are computed.

    Args:
        kernel: that computes them.
        points: G, a row for each point.
        part: inputs that are summed at once.
        pair: inputs that one product sums.
    """

    kernel: Kernel
    points: Sequence[Sequence[float]]
    part: int
    pair: int

    def panels(self, inputs: int, outputs: int) -> int:
        """How many numbers the transformed kernels are."""
        return len(self.points) ** 2 * -(-inputs // self.pair) * self.pair * -(-outputs // TOGETHER) * TOGETHER


@dataclass(frozen=True, eq=False)
class Packed3x3:
    """The kernels of a convolution as `convolution3x3` wants them.

    Args:
        outputs: their number.
        inputs: channels that each looks at.
        panels: transformed, in the weight's precision: of fp32 4 times its memory, of bf16 1.8 times; in fp32 also the
            weight itself, which is transformed at each call; None where torch computes.
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
    way = WAYS.get(weight.dtype)
    fit = weight.dim() == 4 and weight.shape[2:] == (3, 3) and weight.numel() > 0
    if way is None or not fit or not plain(weight.detach()) or way.kernel.reason():
        return Packed3x3(outputs, inputs, None, weight)
    return Packed3x3(outputs, inputs, _panels(way, weight.detach()), weight if keep else None)


def as_it_is(weight: Tensor) -> Packed3x3:
    """The kernels (O, C, 3, 3), fp32, contiguous, of a convolution that transforms them at each call, where there is
    a kernel: no memory is taken, and of 16 tiles a picture the transform takes a quarter of the time."""
    outputs, inputs = weight.shape[:2]
    return Packed3x3(outputs, inputs, weight, weight)


def _panels(way: Way, weight: Tensor) -> Tensor:
    """G g G^T in float64, in the order of kernels/winograd.h; the last group is filled with zeros."""
    outputs, inputs = weight.shape[:2]
    width = way.kernel.functions["panel"](b"")
    points = torch.tensor(way.points, dtype=torch.float64)
    found = weight.new_empty(way.panels(inputs, outputs)).view(-(-outputs // TOGETHER), len(points) ** 2, -1)
    for group, part in zip(found, weight.split(TOGETHER), strict=True):  # group by group, for the memory
        moved = torch.einsum("ya,ocab,xb->yxco", points, part.double(), points).flatten(0, 1).to(weight.dtype)
        moved = F.pad(moved, (0, TOGETHER - len(part), 0, -inputs % way.pair))
        words = moved.unflatten(2, (-1, width)).unflatten(1, (-1, way.pair)).permute(0, 3, 1, 4, 2)
        parts = words.split(way.part // way.pair, dim=2)  # points, panels, words, width, pair
        torch.cat([each.flatten(1) for each in parts], dim=1, out=group)
    return found


def convolution3x3(x: Tensor, packed: Packed3x3, bias: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """The convolution of stride 1 and padding 1, as `torch.nn.functional.conv2d`, and ``added`` to it.

    Winograd's sums are a few times less exact than direct ones: in fp32 2e-6 of the largest against 1e-6; in bf16,
    which rounds what it transforms, 4e-3 of the usual size against the 1.7e-3 of rounding the answer. With a kernel the
    same bytes come for the same picture whatever the batch and the number of threads.

    Args:
        x: (B, C, H, W), of the precision of the kernels; fastest when channels-last, as the answer is.
        packed: the kernels.
        bias: (O,), of that precision.
        added: (B, O, H, W) or (B, O, 1, 1), of that precision; it is added as if by an operation of its own.

    Raises:
        InvalidInput: torch has to compute it, and the weight was not kept.
    """
    if (
        packed.panels is not None
        and x.dim() == 4
        and x.dtype == packed.panels.dtype
        and x.shape[1] == packed.inputs
        and x.numel() > 0
        and plain(x, *(() if bias is None else (bias,)))
        and (bias is None or (bias.dtype == x.dtype and bias.shape == (packed.outputs,) and bias.is_contiguous()))
        and not WAYS[x.dtype].kernel.reason()  # opens it anew where it was forgotten since
    ):
        inside = added is None or _inside(added, x, packed.outputs)
        out = computed(WAYS[x.dtype].kernel, x, packed.panels, packed.outputs, bias, added if inside else None)
        if out is not None:
            return out if inside or added is None else out + added
    if packed.weight is None:
        raise InvalidInput(
            f"a convolution of {packed.inputs} to {packed.outputs} channels keeps its packed weights alone, which take "
            "pictures of their own precision on the CPU without gradients; "
            f"{tuple(x.shape)} of {x.dtype} on {x.device} was given"
        )
    out = F.conv2d(x, packed.weight, bias, padding=1)
    return out if added is None else out + added


def _inside(added: Tensor, x: Tensor, outputs: int) -> bool:
    """Whether the kernel adds such numbers to its answer for x."""
    batch, _, height, width = x.shape
    return (
        added.dtype == x.dtype
        and plain(added)
        and (
            (added.shape == (batch, outputs, height, width) and added.is_contiguous(memory_format=torch.channels_last))
            or (added.shape == (batch, outputs, 1, 1) and added.is_contiguous())
        )
    )


def computed(
    kernel: Kernel, x: Tensor, panels: Tensor, outputs: int, bias: Tensor | None, added: Tensor | None = None
) -> Tensor | None:
    """The kernel's answer; None where memory is short."""
    x = x.contiguous(memory_format=torch.channels_last)
    batch, inputs, height, width = x.shape
    out = torch.empty((batch, outputs, height, width), dtype=x.dtype, memory_format=torch.channels_last)
    place, steps = 0, (0, 0)
    if added is not None:
        cells = added.shape[2:].numel()
        place, steps = added.data_ptr(), (outputs * cells, outputs if cells > 1 else 0)
    sizes = (batch, height, width, inputs, outputs)
    return None if at(kernel, x.data_ptr(), panels, bias, (place, *steps), out.data_ptr(), sizes) else out


def at(
    kernel: Kernel,
    x: int,
    panels: Tensor,
    bias: Tensor | None,
    added: tuple[int, int, int],
    out: int,
    sizes: tuple[int, int, int, int, int],
) -> int:
    """The convolution of pictures at an address to another; 1 where memory is short.

    Args:
        added: the address of what is added, or 0, and its strides: of a picture and a cell.
        sizes: batch, height, width, inputs, outputs.
    """
    place, *steps = added
    call = CALL.pack(
        *(x, panels.data_ptr(), 0 if bias is None else bias.data_ptr(), place, out, *sizes, *steps),
        *(panels.dim() != 4, pool(), threads(sizes[0] * sizes[1] * sizes[2] * sizes[3] * sizes[4])),
    )
    return kernel.functions["convolution"](call)


def test(kernel: Kernel) -> float:
    """A picture whose edges cut tiles, with channels that fill no vector."""
    dtype, way = next((dtype, way) for dtype, way in WAYS.items() if way.kernel is kernel)
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, 21, 9, 6), (70, 21, 3, 3), (70,))
    x, weight, bias = (torch.randn(shape, generator=draw).to(dtype) for shape in shapes)
    ours = computed(kernel, x, _panels(way, weight), 70, bias)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    if ours is None:
        return float("inf")
    rounding = torch.finfo(dtype).eps * float(exact.abs().max())
    return distance(ours, F.conv2d(x, weight, bias, padding=1), exact, rounding)


FUNCTIONS = ("panel", "convolution")
#: The ways by their precision.
WAYS = {
    torch.float32: Way(Kernel("winograd", FUNCTIONS, test, 16), FOURS, part=64, pair=1),
    torch.bfloat16: Way(Kernel("winograd_bf16", FUNCTIONS, test, 4), TWOS, part=128, pair=2),
}
