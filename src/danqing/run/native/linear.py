"""Small linear layers in bf16: ours where there is a kernel, oneDNN's elsewhere, whose call alone takes as long."""

from __future__ import annotations

import struct

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Linear of kernels/linear.cpp.
CALL = struct.Struct("@5P3qPq")
#: Outputs that are computed together, as in kernels/linear.cpp.
PANEL = 64
#: Numbers of a weight beyond which it leaves the cache, and oneDNN is as fast.
MOST = 1 << 19


def panels(weight: Tensor) -> Tensor | None:
    """A weight (O, C) in the order of kernels/linear.cpp, the last panel filled with zeros; None where ours does not
    multiply by it. It does by a weight whose numbers are few, whatever it is to multiply: the same row has the same
    bytes in any company."""
    if weight.dtype != torch.bfloat16 or weight.shape[1] % 2 or not 0 < weight.numel() <= MOST:
        return None
    return _panels(weight) if plain(weight) and not KERNEL.reason() else None


def _panels(weight: Tensor) -> Tensor:
    words = F.pad(weight, (0, 0, 0, -weight.shape[0] % PANEL)).unflatten(0, (-1, PANEL)).unflatten(2, (-1, 2))
    return words.transpose(1, 2).contiguous()


def linear(x: Tensor, packed: Tensor, outputs: int, bias: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """``W x + b``, (…, C) -> (…, O), rounded once, and ``added`` to it, rounded again, as by two operations.

    Args:
        x: bf16, of the CPU, without a gradient.
        packed: `panels` of W.
        outputs: O.
        bias: (O,), bf16.
        added: (…, O), bf16, contiguous.
    """
    KERNEL.reason()  # opens it anew where it was forgotten since
    return _call(KERNEL, x, packed, outputs, bias, added)


def _call(
    kernel: Kernel, x: Tensor, packed: Tensor, outputs: int, bias: Tensor | None, added: Tensor | None = None
) -> Tensor:
    x = x.contiguous()
    inputs = x.shape[-1]
    out = x.new_empty((*x.shape[:-1], outputs))
    rows = x.numel() // inputs
    place = 0 if added is None else added.data_ptr()
    multiply(kernel, x.data_ptr(), packed, bias, place, out.data_ptr(), rows, inputs, outputs)
    return out


def multiply(
    kernel: Kernel,
    x: int,
    packed: Tensor,
    bias: Tensor | None,
    added: int,
    out: int,
    rows: int,
    inputs: int,
    outputs: int,
) -> None:
    """`linear` of rows at an address to another; ``added`` is the address of what is added, or 0."""
    kernel.functions["linear"](
        CALL.pack(
            *(x, packed.data_ptr(), 0 if bias is None else bias.data_ptr(), added, out, rows, inputs, outputs),
            *(pool(), threads(rows * outputs)),
        )
    )


def test(kernel: Kernel) -> float:
    """Rows and outputs that fill neither a block nor a panel."""
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=draw).bfloat16() for shape in ((53, 38), (91, 38), (91,)))
    exact = F.linear(x.double(), weight.double(), bias.double())
    rounding = torch.finfo(x.dtype).eps * float(exact.abs().max())
    return distance(_call(kernel, x, _panels(weight), 91, bias), F.linear(x, weight, bias), exact, rounding)


KERNEL = Kernel("linear", ("linear",), test, 4)
