"""Small linear layers: ours where there is a kernel, oneDNN's elsewhere, whose call alone takes as long."""

from __future__ import annotations

import struct
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Linear of kernels/linear.h.
CALL = struct.Struct("@5P3qPq")
#: Numbers of a weight beyond which it leaves the cache, and oneDNN is as fast.
MOST = 1 << 19
#: Inputs that one product sums, by precision.
PAIRS = {torch.bfloat16: 2, torch.float32: 1}


def panels(weight: Tensor) -> Tensor | None:
    """A weight (O, C) in the order of kernels/linear.h, the last panel filled with zeros; None where ours does not
    multiply by it. It does by a weight whose numbers are few, whatever it is to multiply: the same row has the same
    bytes in any company."""
    if (kernel := KERNELS.get(weight.dtype)) is None or not 0 < weight.numel() <= MOST:
        return None
    fits = weight.shape[1] % PAIRS[weight.dtype] == 0 and plain(weight)
    return _panels(kernel, weight) if fits and not kernel.reason() else None


def _panels(kernel: Kernel, weight: Tensor) -> Tensor:
    wide = kernel.functions["panel"](b"")  # outputs that are computed together
    full = F.pad(weight, (0, 0, 0, -weight.shape[0] % wide)).unflatten(0, (-1, wide))
    return full.unflatten(2, (-1, PAIRS[weight.dtype])).transpose(1, 2).contiguous()


def linear(x: Tensor, packed: Tensor, outputs: int, bias: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """``W x + b``, (…, C) -> (…, O), rounded once, and ``added`` to it, rounded again, as by two operations.

    Args:
        x: of the precision of W, of the CPU, without a gradient.
        packed: `panels` of W.
        outputs: O.
        bias: (O,), of that precision.
        added: (…, O), of that precision, contiguous.
    """
    KERNELS[x.dtype].reason()  # opens it anew where it was forgotten since
    return _call(KERNELS[x.dtype], x, packed, outputs, bias, added)


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


def _tested(dtype: torch.dtype, kernel: Kernel) -> float:
    """Rows and outputs that fill neither a block nor a panel."""
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=draw).to(dtype) for shape in ((53, 38), (91, 38), (91,)))
    exact = F.linear(x.double(), weight.double(), bias.double())
    rounding = torch.finfo(dtype).eps * float(exact.abs().max())
    return distance(_call(kernel, x, _panels(kernel, weight), 91, bias), F.linear(x, weight, bias), exact, rounding)


KERNELS = {
    torch.bfloat16: Kernel("linear", ("linear", "panel"), partial(_tested, torch.bfloat16), 4),
    torch.float32: Kernel("linear_fp32", ("linear", "panel"), partial(_tested, torch.float32), 4),
}
