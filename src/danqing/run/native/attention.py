"""Softmax attention: ours where there is a kernel for these tensors, torch's everywhere else."""

from __future__ import annotations

import math
import struct

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Attention of kernels/flash.h.
CALL = struct.Struct("@5P20qdPq")
#: The largest size of a head.
MOST = 256


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """softmax(scale q k^T + mask) v, as `torch.nn.functional.scaled_dot_product_attention` without dropout.

    With a kernel the same bytes come for the same head whatever the batch, the number of heads beside it and of
    threads.

    Args:
        q: (B, H, L, D); of any strides, as k and v are; the fastest way is a view of (B, L, H D).
        k: (B, H, S, D).
        v: (B, H, S, D).
        mask: broadcast to (B, H, L, S): true where a key is seen, or numbers that are added to the scores.
        scale: > 0; 1/sqrt(D) when None.

    Returns:
        (B, H, L, D), a view of contiguous (B, L, H, D) if a kernel made it: to merge the heads costs nothing.
    """
    kernel = KERNELS.get(q.dtype)
    if kernel is None or not fits(q, k, v, mask) or not (scale is None or scale > 0) or kernel.reason():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return computed(kernel, q, k, v, mask, scale)


def fits(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> bool:
    """Whether the kernels take these tensors: no gradient is wanted, the shapes agree, and no head is too large."""
    if not (q.dim() == k.dim() == v.dim() == 4 and plain(q, k, v, *(() if mask is None else (mask,)))):
        return False
    (batch, heads, _, size), dtype = q.shape, q.dtype
    return (
        k.dtype == v.dtype == dtype
        and k.shape == v.shape == (batch, heads, k.shape[2], size)
        and 0 < size <= MOST
        and q.numel() > 0
        and k.numel() > 0
    )


def computed(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """The kernel's answer."""
    q, k, v = (x if x.stride(3) == 1 or x.shape[3] == 1 else x.contiguous() for x in (q, k, v))
    batch, heads, queries, size = q.shape
    keys = k.shape[2]
    out = torch.empty((batch, queries, heads, size), dtype=q.dtype).transpose(1, 2)
    bias = None if mask is None else added(mask).expand(batch, heads, queries, keys)
    call = CALL.pack(
        *(x.data_ptr() for x in (q, k, v, out)),
        0 if bias is None else bias.data_ptr(),
        *(batch, heads, queries, keys, size),
        *(step for x in (q, k, v, out) for step in x.stride()[:3]),
        *((0, 0, 0) if bias is None else bias.stride()[:3]),
        1 / math.sqrt(size) if scale is None else scale,
        pool(),
        threads(batch * heads * queries * keys),
    )
    if kernel.functions["attention"](call):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out


def added(mask: Tensor) -> Tensor:
    """A mask as fp32 numbers to add to the scores, those of the keys beside each other."""
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill_(~mask, -math.inf)
    return mask.float().contiguous()


def test(kernel: Kernel) -> float:
    """Two heads of an odd size, more keys than a block, and a mask."""
    dtype = next(dtype for dtype, each in KERNELS.items() if each is kernel)
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, 41, generator=draw).to(dtype) for n in (19, 301, 301))
    mask = torch.rand(1, 1, 1, 301, generator=draw) < 0.7
    exact = F.scaled_dot_product_attention(*(x.double() for x in (q, k, v)), attn_mask=mask)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    rounding = torch.finfo(dtype).eps * float(v.abs().max())
    return distance(computed(kernel, q, k, v, mask, None), theirs, exact, rounding)


KERNELS = {
    torch.bfloat16: Kernel("attention_bf16", ("attention",), test, 4),
    torch.float32: Kernel("attention_fp32", ("attention",), test, 4),
}
