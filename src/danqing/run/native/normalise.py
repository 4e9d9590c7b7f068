"""GroupNorm, with SiLU after it, and LayerNorm: ours where there is a kernel for these tensors, torch's elsewhere."""

from __future__ import annotations

import struct

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Normalise of kernels/normalise.cpp.
CALL = struct.Struct("@4P7qdPq")
DTYPES = (torch.bfloat16, torch.float32)


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    silu: bool = False,
) -> Tensor:
    """GroupNorm (Wu & He 2018), and SiLU after it if ``silu``: rounded to the dtype once, at the end.

    With a kernel the same bytes come for the same picture whatever the batch and the number of threads.

    Args:
        x: (B, C, H, W); the kernel takes channels-last ones.
        groups: a divisor of C.
        weight: (C,), of the dtype of x or fp32; ones when None.
        bias: as the weight; zeros when None.
        eps: added to the variance.
    """
    if (
        x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and groups > 0
        and x.shape[1] % groups == 0
        and fits(x, weight, bias, x.shape[1])
    ):
        batch, channels, height, width = x.shape
        out = torch.empty_like(x)
        if not _call("group_norm", x, weight, bias, out, (batch, height * width, channels, groups), silu, eps):
            return out
    out = F.group_norm(x, groups, weight, bias, eps)
    return F.silu(out) if silu else out


def group_norm_silu(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """`group_norm` with SiLU after it."""
    return group_norm(x, groups, weight, bias, eps, silu=True)


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """LayerNorm (Ba et al. 2016) over the last axis.

    Args:
        x: (…, C), contiguous for the kernel.
        weight: (C,), of the dtype of x or fp32; ones when None.
        bias: as the weight; zeros when None.
        eps: added to the variance.
    """
    channels = x.shape[-1]
    if x.is_contiguous() and fits(x, weight, bias, channels):
        out = torch.empty_like(x)
        if not _call("layer_norm", x, weight, bias, out, (1, x.numel() // channels, channels, 1), False, eps):
            return out
    return F.layer_norm(x, (channels,), weight, bias, eps)


def fits(x: Tensor, weight: Tensor | None, bias: Tensor | None, channels: int) -> bool:
    """Whether the kernel is here and takes these tensors, and the weights are as many as the channels."""
    given = [each for each in (weight, bias) if each is not None]
    return (
        x.dtype in DTYPES
        and x.numel() > 0
        and plain(x, *given)
        and all(each.shape == (channels,) and each.is_contiguous() for each in given)
        and all(each.dtype == given[0].dtype and each.dtype in (x.dtype, torch.float32) for each in given)
        and not KERNEL.reason()
    )


def _call(
    name: str,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    out: Tensor,
    sizes: tuple[int, int, int, int],
    silu: bool,
    eps: float,
) -> int:
    return at(name, x.data_ptr(), weight, bias, out.data_ptr(), sizes, silu, eps, x.dtype)


def at(
    name: str,
    x: int,
    weight: Tensor | None,
    bias: Tensor | None,
    out: int,
    sizes: tuple[int, int, int, int],
    silu: bool,
    eps: float,
    dtype: torch.dtype,
) -> int:
    """A norm of numbers at an address to another; 1 where memory is short.

    Args:
        name: of the function, "group_norm" or "layer_norm".
        sizes: batch, rows, channels, groups.
        dtype: of x.
    """
    given = weight if weight is not None else bias
    call = CALL.pack(
        x,
        0 if weight is None else weight.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        out,
        *sizes,
        dtype == torch.float32,
        given is not None and given.dtype == torch.float32,
        silu,
        eps,
        pool(),
        threads(sizes[0] * sizes[1] * sizes[2]),
    )
    return KERNEL.functions[name](call)


def test(kernel: Kernel) -> float:
    """Pictures and tokens of an odd size in both precisions, far from zero."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for dtype in DTYPES:
        x = (torch.randn(1, 42, 9, 11, generator=draw) + 3).to(dtype).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(2, 42, generator=draw).to(dtype)
        tokens = x.permute(0, 2, 3, 1)
        ours = (torch.empty_like(x), torch.empty_like(tokens))
        if _call("group_norm", x, weight, bias, ours[0], (1, 99, 42, 6), True, 1e-5):
            return float("inf")
        if _call("layer_norm", tokens, weight, bias, ours[1], (1, 99, 42, 1), False, 1e-5):
            return float("inf")
        for mine, norm in zip(ours, (_silu, _layer), strict=True):
            exact = norm(x.double(), weight.double(), bias.double())
            rounding = torch.finfo(dtype).eps * float(exact.abs().max())
            found.append(distance(mine, norm(x, weight, bias), exact, rounding))
    return max(found)


def _silu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.silu(F.group_norm(x, 6, weight, bias))


def _layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x.permute(0, 2, 3, 1), (42,), weight, bias)


KERNEL = Kernel("normalise", ("group_norm", "layer_norm"), test, 4)
