"""Layers whose weights lie as oneDNN multiplies them, and operations by kernels of our own.

All of them give a picture the same bytes in a batch of any size.
Plain torch orders the weights of a convolution anew at every call: half of the time of a small network. Here each layer
does it once, for the shape that it sees.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ...nets.operations import Activated, Added, Attend, Gated
from ...weights.mappings import let_go
from ..looked import Seldom
from ..native.attention import attention
from ..native.convolution import WAYS, Packed3x3, as_it_is, convolution3x3, pack3x3
from ..native.direct import Taps, direct, taps
from ..native.gated import gated
from ..native.linear import linear
from ..native.linear import panels as panels_of
from ..native.normalise import group_norm, group_norm_silu, layer_norm
from ..native.switch import given
from ..native.tensors import plain

ONEDNN: Any = torch.ops.mkldnn
#: The precisions that oneDNN packs on this processor.
DTYPES = (torch.float32, *[torch.bfloat16] * getattr(ONEDNN, "_is_mkldnn_bf16_supported", bool)())


class Held(NamedTuple):
    """What is kept of a layer's weight.

    Args:
        shape: what it is packed for, as far as that matters; None before the first.
        weight: packed, or plain where the panels compute.
        panels: the weight as a kernel of our own multiplies by it, where that is faster.
    """

    shape: Sequence[Any] | None
    weight: Tensor
    panels: Packed3x3 | Taps | Tensor | None = None

    @property
    def dense(self) -> Tensor:
        """The weight as torch keeps it."""
        return self.weight.to_dense() if self.weight.is_mkldnn else self.weight


class Packed(nn.Module):
    """A layer of whose weight the packed form alone is kept. ``weight`` unpacks it; to set it packs anew, and a copy
    shares it."""

    bias: Tensor | None

    def hold(self, weight: Tensor) -> None:
        """Keep a weight, packed at the next call for what comes then."""
        vars(self)["held"] = Held(None, weight.detach())

    def pack(self, weight: Tensor, shape: torch.Size) -> Held:
        """The weight as it is multiplied with inputs of a shape."""
        raise NotImplementedError

    def fitted(self, shape: torch.Size) -> Held:
        """The packed weight for inputs of a shape; where what matters of it changes it is packed anew."""
        held: Held = vars(self)["held"]
        if held.shape != (matters := self.matters(shape)):
            plain = held.dense.contiguous()
            found = self.pack(plain, shape)
            kept = let_go(plain)  # of a file, which has them still: in memory they would be there twice
            weight = kept if found.weight is plain else found.weight
            vars(self)["held"] = held = found._replace(shape=matters, weight=weight)
        return held

    def matters(self, shape: torch.Size) -> Sequence[Any]:
        """What of a shape the packed form depends on; the batch it never does."""
        raise NotImplementedError

    @property
    def weight(self) -> Tensor:
        return vars(self)["held"].dense

    def takes(self, x: Tensor) -> bool:
        """Whether the packed weight multiplies this input; else torch computes."""
        weight: Tensor = vars(self)["held"].weight
        return (
            x.dtype == weight.dtype
            and x.dtype in DTYPES
            and x.is_cpu
            and weight.is_cpu
            and x.numel() > 0
            and not torch.is_grad_enabled()
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            self.hold(value)
        else:
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Packed:
        other = cast(Packed, type(self).__new__(type(self)))
        vars(other).update({k: v if k == "held" else copy.deepcopy(v, memo) for k, v in vars(self).items()})
        return other

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Packed:
        self.hold(fn(self.weight))
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)


#: Rows of one picture beyond which oneDNN multiplies by a small weight faster.
ROWS = 256


class PackedLinear(Packed, nn.Linear):  # pyright: ignore[reportIncompatibleVariableOverride]
    """``W x + b``, W in oneDNN's order for so many rows, or a small one in that of our kernel."""

    def pack(self, weight: Tensor, shape: torch.Size) -> Held:
        if shape[1:-1].numel() <= ROWS and (found := panels_of(weight)) is not None:
            return Held(None, weight, found)
        return Held(None, ONEDNN._reorder_linear_weight(weight, shape[:-1].numel()))

    def matters(self, shape: torch.Size) -> Sequence[Any]:
        return shape[1:-1].numel() <= ROWS, given()  # which kernels there are

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.takes(x):
            return nn.Linear.forward(self, x)
        held = self.fitted(x.shape)
        if held.panels is not None:
            return linear(x, cast(Tensor, held.panels), len(held.weight), self.bias)  # a LoRA's has its rank
        if x.numel() == self.in_features:  # a single row is summed in another order than it is among others
            return self(x.expand(2, *x.shape))[0]
        return ONEDNN._linear_pointwise(x, held.weight, self.bias, "none", [], "")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The same bytes as ``self(x) + other``, in one call where a kernel of ours adds."""
        if self.takes(x) and (held := self.fitted(x.shape)).panels is not None:
            panels, outputs = cast(Tensor, held.panels), len(held.weight)
            fits = other.dtype == x.dtype and other.is_contiguous() and plain(other)
            if fits and other.shape == (*x.shape[:-1], outputs):
                return linear(x, panels, outputs, self.bias, other)
        return self.forward(x) + other


class PackedSeldom(Seldom):
    """A layer that computes once a picture, packed anew at each call; one that is changed is packed for good."""

    plain = PackedLinear

    def computed(self, x: Tensor) -> Tensor:
        layer = cast(PackedLinear, PackedLinear.__new__(PackedLinear))
        vars(layer).update(vars(self))
        layer.hold(self.weight)
        return layer.forward(x)

    def release(self, weight: Tensor) -> None:
        """Be a packed layer of this weight."""
        super().release(weight)
        cast(PackedLinear, self).hold(self._parameters.pop("weight"))  # pyright: ignore


class PackedConv2d(Packed, nn.Conv2d):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A convolution, its kernels transformed or in oneDNN's order; the channels of what comes lie last."""

    def how(self) -> tuple[Sequence[int], Sequence[int], Sequence[int], int]:
        return cast(Sequence[int], self.padding), self.stride, self.dilation, self.groups

    def pack(self, weight: Tensor, shape: torch.Size) -> Held:
        if transforms(self, weight.dtype, shape):
            once = beforehand(self, weight.dtype, shape)
            return Held(None, weight, pack3x3(weight, keep=False) if once else as_it_is(weight))
        if shape[2:].numel() <= ROWS and (found := small(self, weight)) is not None:
            return Held(None, weight, found)
        return Held(None, ONEDNN._reorder_convolution_weight(weight, *self.how(), list(shape)))

    def matters(self, shape: torch.Size) -> Sequence[Any]:
        return (*shape[2:], given())  # which kernels there are

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.takes(x) or x.dim() != 4:
            return nn.Conv2d.forward(self, x)
        x = x.contiguous(memory_format=torch.channels_last)
        held = self.fitted(x.shape)
        if held.panels is None:
            return ONEDNN._convolution_pointwise(x, held.weight, self.bias, *self.how(), "none", [], "")
        if isinstance(held.panels, Packed3x3):
            return convolution3x3(x, held.panels, self.bias)
        if isinstance(held.panels, Taps):
            (stride, _), (padding, _) = self.stride, cast(Sequence[int], self.padding)
            out = direct(x, held.panels, self.bias, stride, padding)
            return nn.Conv2d.forward(self, x) if out is None else out
        return linear(x.permute(0, 2, 3, 1), held.panels, len(held.weight), self.bias).permute(0, 3, 1, 2)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The same bytes as ``self(x) + other``, in one call where a kernel of ours adds."""
        if self.takes(x) and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
            if isinstance(panels := self.fitted(x.shape).panels, Packed3x3):
                return convolution3x3(x, panels, self.bias, other)
        return self.forward(x) + other


def small(layer: nn.Conv2d, weight: Tensor) -> Tensor | Taps | None:
    """A small weight for our kernels: that of a linear layer of each cell, or of a convolution as it is written; None
    where they do not multiply by it."""
    (across, down), (right, below) = layer.stride, cast(Sequence[int], layer.padding)
    if layer.groups > 1 or layer.dilation != (1, 1) or across != down or right != below:
        return None
    if (layer.kernel_size, across, right) == ((1, 1), 1, 0):
        return panels_of(weight.flatten(1))
    return taps(weight)


#: Panels of more bytes than this are not worth their memory: many channels over few cells.
PANEL = 64 << 20
#: Nor more than so many for each cell: eleven layers of 1280 channels at 8² would spare SD 1.5 a hundredth of its time.
SHARE = 256 << 10
#: Channels below which vectors are too empty, by precision.
CHANNELS = {torch.float32: 32, torch.bfloat16: 16}


def transforms(layer: nn.Conv2d, dtype: torch.dtype, shape: torch.Size) -> bool:
    """Whether Winograd's algorithm computes a convolution faster here.

    In fp32 it multiplies a fourth as often, and is 2 to 3 times as fast as direct; in bf16 four ninths as often, and
    1.4 to 2 times as fast, but where the processor multiplies tiles (AMX).
    """
    how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    if how != ((3, 3), (1, 1), (1, 1), (1, 1), 1) or min(layer.in_channels, layer.out_channels) < CHANNELS[dtype]:
        return False
    if WAYS[dtype].kernel.reason():
        return False
    once = beforehand(layer, dtype, shape)
    return shape[2:].numel() >= (64 if once else 256) if dtype == torch.float32 else once


def beforehand(layer: nn.Conv2d, dtype: torch.dtype, shape: torch.Size) -> bool:
    """Whether the kernels are transformed once, for the memory that this takes; else, in fp32 alone, at each call."""
    return panels(layer, dtype) <= min(PANEL, SHARE * shape[2:].numel())


def panels(layer: nn.Conv2d, dtype: torch.dtype) -> int:
    """The bytes of a convolution's kernels, transformed."""
    return WAYS[dtype].panels(layer.in_channels, layer.out_channels) * dtype.itemsize


class PackedAttend(Attend):
    """Attention by our kernel, where there is one."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        return attention(q, k, v, mask, scale)


class PackedGroupNorm(nn.GroupNorm):
    """A norm of groups by our kernel, where there is one."""

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class PackedLayerNorm(nn.LayerNorm):
    """A norm of the last axis by our kernel, where there is one; of more axes torch's."""

    def forward(self, input: Tensor) -> Tensor:
        if len(self.normalized_shape) != 1:
            return super().forward(input)
        return layer_norm(input, self.weight, self.bias, self.eps)


class PackedActivated(Activated):
    """The norm and SiLU in one pass by our kernel, where the norm is one of groups."""

    def forward(self, norm: nn.Module, x: Tensor) -> Tensor:
        if type(norm) not in (nn.GroupNorm, PackedGroupNorm):
            return super().forward(norm, x)
        norm = cast(nn.GroupNorm, norm)
        return group_norm_silu(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


class PackedAdded(Added):
    """A layer and what is added to it in one pass by our kernel, where there is one and nobody looks at the layer."""

    def forward(self, layer: nn.Module, x: Tensor, other: Tensor) -> Tensor:
        if type(layer) in (PackedConv2d, PackedLinear) and not layer._forward_hooks and not layer._forward_pre_hooks:
            return cast(PackedConv2d | PackedLinear, layer).plus(x, other)
        return super().forward(layer, x, other)


class PackedGated(Gated):
    """The product with the GELU in one pass by our kernel, where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        return gated(x)
