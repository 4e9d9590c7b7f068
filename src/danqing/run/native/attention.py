"""Softmax attention: ours where there is a kernel for these tensors, torch's everywhere else."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .library import Kernel, pool, threads
from .tensors import distance, plain

#: The struct Attention of kernels/flash.h.
CALL = struct.Struct("@5P20qdPq")
#: The largest size of a head: what the kernels have room for, and in fp32 half of that, beyond which torch is faster.
MOST = {torch.bfloat16: 512, torch.float32: 256}


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
    if q.dim() != 4 or not plain(q, k, v) or not (mask is None or plain(mask)):
        return False
    batch, heads, queries, size = q.shape
    shape = k.shape
    return (
        len(shape) == 4
        and shape == v.shape
        and shape[0] == batch
        and shape[1] == heads
        and shape[3] == size
        and k.dtype == q.dtype == v.dtype
        and 0 < size <= MOST[q.dtype]
        and min(batch, heads, queries, shape[2]) > 0
    )


def computed(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """The kernel's answer."""
    batch, heads, queries, size = q.shape
    keys = k.shape[2]
    (*q_steps, q_one), (*k_steps, k_one), (*v_steps, v_one) = q.stride(), k.stride(), v.stride()
    if size > 1 and not q_one == k_one == v_one == 1:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        q_steps, k_steps, v_steps = q.stride()[:3], k.stride()[:3], v.stride()[:3]
    steps = (queries * heads * size, size, heads * size)
    out = torch.empty_strided((batch, heads, queries, size), (*steps, 1), dtype=q.dtype)
    bias, place, bias_steps = None, 0, (0, 0, 0)
    if mask is not None:
        bias = added(mask).expand(batch, heads, queries, keys)
        place, bias_steps = bias.data_ptr(), bias.stride()[:3]
    places = (q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(), place)
    strides = (*q_steps, *k_steps, *v_steps, *steps, *bias_steps)
    if at(kernel, places, (batch, heads, queries, keys, size), strides, scale):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out


def at(
    kernel: Kernel, places: Sequence[int], sizes: Sequence[int], strides: Sequence[int], scale: float | None = None
) -> int:
    """`attention` of numbers at addresses; 1 where memory is short.

    Args:
        places: of q, k, v, the answer and the mask in fp32, 0 where there is none.
        sizes: batch, heads, queries, keys, the size of a head.
        strides: of those of ``places`` in turn three each: of a picture, a head and a row.
        scale: 1 / sqrt(size) when None.
    """
    batch, heads, queries, keys, size = sizes
    call = CALL.pack(
        *places,
        *sizes,
        *strides,
        1 / math.sqrt(size) if scale is None else scale,
        pool(),
        threads(batch * heads * queries * keys),
    )
    return kernel.functions["attention"](call)


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
