"""Blocks of small networks: kernels of our own one after another in one piece of memory.

A layer by itself is asked whether it can, and answers with a tensor of its own: in a small network that takes as long
as what it computes. Here the block is asked once. The bytes are those of its layers one by one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ...nets.blocks import ResnetBlock
from ...nets.ports import Context
from ...nets.unet import GEGLU, Attention, CrossAttention, FeedForward, TransformerBlock
from ..native import attention, convolution, gated, linear, normalise
from ..native.convolution import WAYS, Packed3x3
from ..native.switch import given
from ..native.tensors import plain
from .layers import (
    ROWS,
    Held,
    PackedActivated,
    PackedAdded,
    PackedAttend,
    PackedConv2d,
    PackedGated,
    PackedGroupNorm,
    PackedLayerNorm,
    PackedLinear,
)

#: Those of a transformer block, by precision.
KERNELS = {
    dtype: (linear.KERNELS[dtype], normalise.KERNEL, gated.KERNEL, attention.KERNELS[dtype]) for dtype in linear.KERNELS
}
#: The layers of a residual block that are not called.
RESIDUAL: tuple[type[nn.Module], ...] = (
    PackedGroupNorm,
    PackedConv2d,
    PackedGroupNorm,
    PackedConv2d,
    *(PackedActivated, PackedAdded),
)
#: Those of a transformer block, in the order of `parts_of`.
KINDS: tuple[type[nn.Module], ...] = (
    *(PackedLayerNorm, PackedLayerNorm, PackedLayerNorm),
    *(PackedLinear, PackedLinear, PackedLinear, PackedLinear, PackedLinear, PackedLinear, PackedLinear, PackedLinear),
    *(PackedAttend, PackedAttend, PackedGated),
    *(Attention, CrossAttention, FeedForward, nn.Sequential, GEGLU, nn.Identity, nn.ModuleList, nn.ModuleList),
)


class PackedResnetBlock(ResnetBlock):
    """A block whose norms and convolutions are computed at once where all of them are as the engine left them; the
    projection of time and the shortcut are asked of whoever makes them."""

    def forward(self, x: Tensor, ctx: Context | None = None) -> Tensor:
        if (held := convolutions(self, x)) is not None:
            time = self.time_emb_proj
            moved = None if time is None or ctx is None else time(ctx.activated)
            if (out := residual(self, held, x, moved, self.conv_shortcut(x))) is not None:
                return out
        return super().forward(x, ctx)


def convolutions(block: ResnetBlock, x: Tensor) -> tuple[Packed3x3, Packed3x3] | None:
    """The transformed kernels of a residual block; None where its layers have to be called."""
    if x.dim() != 4 or not 0 < x.shape[2] * x.shape[3] <= ROWS or x.dtype not in WAYS or torch.is_grad_enabled():
        return None
    if not x.is_contiguous(memory_format=torch.channels_last) or not x.numel() or not plain(x):
        return None
    one: dict[str, Any] = block._modules  # as it is: to ask for a layer by its name takes a network's modules longer
    norms: list[Any] = [one["norm1"], one["norm2"]]
    found: list[Any] = [one["conv1"], one["conv2"]]
    layers = (norms[0], found[0], norms[1], found[1], one["activated"], one["added"])
    for layer, kind in zip(layers, RESIDUAL, strict=True):
        if type(layer) is not kind or layer._forward_hooks or layer._forward_pre_hooks:
            return None
    if normalise.KERNEL.reason() or WAYS[x.dtype].kernel.reason():
        return None
    inputs, matters, packed = x.shape[1], (*x.shape[2:], given()), list[Packed3x3]()
    for norm, layer in zip(norms, found, strict=True):
        if not all(whole(number, x, inputs) for number in (norm._parameters["weight"], norm._parameters["bias"])):
            return None
        held: Held = vars(layer)["held"]
        held = held if held.shape == matters else layer.fitted(torch.Size((len(x), inputs, *x.shape[2:])))
        if not isinstance(held.panels, Packed3x3) or held.panels.panels is None or held.panels.inputs != inputs:
            return None
        if held.panels.panels.dtype != x.dtype:
            return None
        packed.append(held.panels)
        inputs = held.panels.outputs
    return (packed[0], packed[1]) if packed[0].outputs == packed[1].outputs else None


def whole(number: Tensor | None, x: Tensor, count: int) -> bool:
    """Whether these are the weights of a norm of so many channels, of the precision of x."""
    return number is not None and number.dtype == x.dtype and number.shape == (count,) and number.is_contiguous()


def residual(
    block: ResnetBlock, packed: tuple[Packed3x3, Packed3x3], x: Tensor, time: Tensor | None, beside: Tensor
) -> Tensor | None:
    """The block's answer for x (B, C, H, W), the projected time (B, O) and the shortcut's answer (B, O, H, W); None
    where memory is short, or these are of another shape, order or precision."""
    (batch, inputs, high, broad), outputs = x.shape, packed[1].outputs
    cells = high * broad
    if beside.shape != (batch, outputs, high, broad) or not beside.is_contiguous(memory_format=torch.channels_last):
        return None
    if beside.dtype != x.dtype or not plain(beside):
        return None
    if time is not None and (time.shape != (batch, outputs) or time.dtype != x.dtype or not time.is_contiguous()):
        return None
    room = x.new_empty(batch * cells * (max(inputs, outputs) + outputs))
    out = torch.empty((batch, outputs, high, broad), dtype=x.dtype, memory_format=torch.channels_last)
    normed = room.data_ptr()
    between = normed + batch * cells * max(inputs, outputs) * x.element_size()
    one, kernel = block._modules, WAYS[x.dtype].kernel

    def norm(layer: Any, at: int, channels: int) -> int:
        weight, bias, sizes = layer._parameters["weight"], layer._parameters["bias"], (batch, cells, channels)
        return normalise.at(
            "group_norm", at, weight, bias, normed, (*sizes, layer.num_groups), True, layer.eps, x.dtype
        )

    def convolve(layer: Any, which: int, added: tuple[int, int, int], to: int) -> int:
        found = packed[which]
        sizes = (batch, high, broad, found.inputs, found.outputs)
        return convolution.at(kernel, normed, cast(Tensor, found.panels), layer._parameters["bias"], added, to, sizes)

    short = norm(one["norm1"], x.data_ptr(), inputs)
    short |= convolve(one["conv1"], 0, (0, 0, 0) if time is None else (time.data_ptr(), outputs, 0), between)
    short |= norm(one["norm2"], between, outputs)
    short |= convolve(one["conv2"], 1, (beside.data_ptr(), outputs * cells, outputs), out.data_ptr())
    return None if short else out


class Parts(NamedTuple):
    """The norms and linear layers of a block, in the order in which they are computed, these with their weights."""

    norms: list[Any]
    linears: list[tuple[Any, Held]]


class PackedTransformerBlock(TransformerBlock):
    """A block whose layers are computed at once where all of them are as the engine left them; the text's keys and
    values are asked of whoever makes them."""

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        parts = parts_of(self, x)
        if parts is not None and ctx.tokens is not None:
            keys, values = self.attn2.to_k(ctx.tokens), self.attn2.to_v(ctx.tokens)
            if (out := computed(parts, self.attn1.heads, x, keys, values)) is not None:
                return out
        return super().forward(x, ctx)


def parts_of(block: TransformerBlock, x: Tensor) -> Parts | None:
    """The layers of a block; None where they have to be called: one is of another kind or too large for our kernels,
    or somebody looks at it."""
    if x.dtype not in KERNELS or x.dim() != 3 or not 0 < x.shape[1] <= ROWS or torch.is_grad_enabled():
        return None
    if not x.numel() or not x.is_contiguous() or not plain(x) or any(kernel.reason() for kernel in KERNELS[x.dtype]):
        return None
    one: dict[str, Any] = block._modules  # as it is: to ask for a layer by its name takes a network's modules longer
    with suppress(KeyError, AttributeError):
        own, text, deep = (part._modules for part in (one["attn1"], one["attn2"], one["ff"]._modules["net"]))
        gate, (after, behind) = deep["0"]._modules, (own["to_out"], text["to_out"])
        norms = [one["norm1"], one["norm2"], one["norm3"]]
        linears: list[Any] = [own["to_q"], own["to_k"], own["to_v"], after._modules["0"]]
        linears += [text["to_q"], behind._modules["0"], gate["proj"], deep["2"]]
        rest = own["attend"], text["attend"], gate["gated"], one["attn1"], one["attn2"], one["ff"]
        more = one["ff"]._modules["net"], deep["0"], deep["1"], after, behind
        layers: tuple[Any, ...] = (*norms, *linears, *rest, *more)
        for layer, kind in zip(layers, KINDS, strict=True):
            if type(layer) is not kind or layer._forward_hooks or layer._forward_pre_hooks:
                return None
        if text["branches"]._modules or one["attn1"].heads != one["attn2"].heads:
            return None
        if "over" in vars(one["attn1"]):  # cells that are merged
            return None
        return fitted(norms, linears, x)
    return None


def fitted(norms: list[Any], linears: list[Any], x: Tensor) -> Parts | None:
    """The layers, if all numbers are of the precision and in the number that the kernels read."""
    wide, matters = x.shape[2], (True, given())
    for norm in norms:
        if not all(whole(number, x, wide) for number in (norm._parameters["weight"], norm._parameters["bias"])):
            return None
    held = [vars(layer)["held"] for layer in linears]
    held = [each if each.shape == matters else layer.fitted(x.shape) for layer, each in zip(linears, held, strict=True)]
    shapes = ((wide, wide),) * 6 + ((8 * wide, wide), (wide, 4 * wide))
    for each, shape in zip(held, shapes, strict=True):
        if each.panels is None or each.weight.shape != shape:
            return None
    return Parts(norms, list(zip(linears, held, strict=True)))


def computed(parts: Parts, heads: int, x: Tensor, keys: Tensor, values: Tensor) -> Tensor | None:
    """The block's answer for x (B, N, C), the text's keys and values (B, L, C); None where memory is short, or these
    are not of the shape and precision of x."""
    batch, cells, wide = x.shape
    if keys.shape != values.shape or keys.shape != (batch, keys.shape[1], wide) or keys.dtype != x.dtype:
        return None
    if values.dtype != x.dtype or not plain(keys, values):
        return None
    keys, values, rows, size = keys.contiguous(), values.contiguous(), batch * cells, wide // heads
    piece = -(-x.numel() // 32) * 32  # a whole number of lines of the cache
    room, out, (by, *_, attender) = x.new_empty(15 * piece), torch.empty_like(x), KERNELS[x.dtype]
    base, step = room.data_ptr(), piece * x.element_size()
    normed, kept, again, hidden, thin = (base + i * step for i in (0, 1, 2, 3, 11))  # of 1, 1, 1, 8 and 4 pieces
    queries, own_keys, own_values = (hidden + i * step for i in range(3))  # gone before the last is made

    def norm(which: int, at: int) -> int:
        layer = parts.norms[which]
        weight, bias = layer._parameters["weight"], layer._parameters["bias"]
        return normalise.at("layer_norm", at, weight, bias, normed, (1, rows, wide, 1), False, layer.eps, x.dtype)

    def multiply(which: int, at: int, to: int, added: int = 0) -> None:
        layer, held = parts.linears[which]
        outputs, inputs = held.weight.shape
        bias = layer._parameters["bias"]
        linear.multiply(by, at, cast(Tensor, held.panels), bias, added, to, rows, inputs, outputs)

    def attend(k: int, v: int, count: int) -> int:
        steps, theirs = (cells * wide, size, wide), (count * wide, size, wide)
        sizes = (batch, heads, cells, count, size)
        return attention.at(attender, (queries, k, v, normed, 0), sizes, (*steps, *theirs, *theirs, *steps, 0, 0, 0))

    short = norm(0, x.data_ptr())
    for which, to in enumerate((queries, own_keys, own_values)):
        multiply(which, normed, to)
    short |= attend(own_keys, own_values, cells)
    multiply(3, normed, kept, x.data_ptr())
    short |= norm(1, kept)
    multiply(4, normed, queries)
    short |= attend(keys.data_ptr(), values.data_ptr(), keys.shape[1])
    multiply(5, normed, again, kept)
    short |= norm(2, again)
    multiply(6, normed, hidden)
    gated.at(gated.KERNEL, hidden, thin, rows, 4 * wide, x.dtype)
    multiply(7, thin, out.data_ptr(), again)
    return None if short else out
