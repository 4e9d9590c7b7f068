"""Layers whose weights lie as oneDNN multiplies them, and operations by kernels of our own.

All of them give a picture the same bytes in a batch of any size.
Plain torch orders the weights of a convolution anew at every call: half of the time of a small network. Here each layer
does it once, for the shape that it sees. A layer keeps its identity and changes its class, so whatever holds it
(an adapter's stack, a memory of texts) holds it still; what it was comes back, bit for bit, with the class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ...nets.operations import Activated, Attend, Gated
from ...weights.mappings import let_go
from ..native.attention import attention
from ..native.chosen import running
from ..native.convolution import WAYS, Packed3x3, convolution3x3, pack3x3
from ..native.gated import KERNEL as gate
from ..native.gated import gated
from ..native.linear import linear
from ..native.linear import panels as panels_of
from ..native.normalise import KERNEL as normalise
from ..native.normalise import group_norm, group_norm_silu, layer_norm
from ..native.switch import given
from .engines import Engine

#: The precisions that oneDNN packs.
DTYPES = (torch.float32, torch.bfloat16)
ONEDNN: Any = torch.ops.mkldnn


class Held(NamedTuple):
    """What is kept of a layer's weight.

    Args:
        shape: what it is packed for, as far as that matters; None before the first.
        weight: packed, or plain where the panels compute.
        panels: the weight as a kernel of our own multiplies by it, where that is faster.
    """

    shape: Sequence[Any] | None
    weight: Tensor
    panels: Packed3x3 | Tensor | None = None

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


class PackedConv2d(Packed, nn.Conv2d):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A convolution, its kernels transformed or in oneDNN's order; the channels of what comes lie last."""

    def how(self) -> tuple[Sequence[int], Sequence[int], Sequence[int], int]:
        return cast(Sequence[int], self.padding), self.stride, self.dilation, self.groups

    def pack(self, weight: Tensor, shape: torch.Size) -> Held:
        if transforms(self, weight.dtype, shape):
            return Held(None, weight, pack3x3(weight, keep=False))
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
        return convolution3x3(x, cast(Packed3x3, held.panels), self.bias)


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
    if WAYS[dtype].kernel.reason() or panels(layer, dtype) > min(PANEL, SHARE * shape[2:].numel()):
        return False
    return dtype != torch.float32 or shape[2:].numel() >= 256


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


class PackedGated(Gated):
    """The product with the GELU in one pass by our kernel, where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        return gated(x)


#: What stands in for which kind of layer; a subclass of one is another kind.
KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: PackedLinear,
    nn.Conv2d: PackedConv2d,
    nn.GroupNorm: PackedGroupNorm,
    nn.LayerNorm: PackedLayerNorm,
    Attend: PackedAttend,
    Activated: PackedActivated,
    Gated: PackedGated,
}


def packable(layer: nn.Module) -> bool:
    """Whether a layer can be packed as it is."""
    if type(layer) not in KINDS:
        return False
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        return True
    plain = isinstance(layer, nn.Linear) or (layer.padding_mode == "zeros" and not isinstance(layer.padding, str))
    weight = layer.weight
    return plain and weight.dtype in DTYPES and weight.device.type == "cpu" and weight.numel() > 0


@cache
def reason() -> str:
    """Why this torch cannot pack, "" if it can: the operators are private, so they are tried first."""
    try:
        with torch.inference_mode():
            draw = torch.Generator().manual_seed(0)
            for layer, x in (
                (nn.Linear(5, 3), torch.randn(4, 5, generator=draw)),
                (nn.Conv2d(5, 3, 3, padding=1), torch.randn(2, 5, 4, 6, generator=draw)),
            ):
                plain, off = layer(x), attach(layer)
                packed = layer(x)
                off()
                if not torch.allclose(plain, packed, atol=1e-4):
                    return f"packed layers of torch {torch.__version__} compute something else"
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} has no packed layers ({str(error).splitlines()[0]})"
    return ""


def attach(net: nn.Module) -> Callable[[], None]:
    """Pack every layer of a network that can be; what is returned makes each what it was.

    The weight as it was is let go, so nothing is kept twice but the one layer at hand.
    """
    layers = [layer for layer in net.modules() if packable(layer)]
    for layer in layers:
        kind = KINDS[type(layer)]
        weight = layer._parameters.pop("weight", None) if issubclass(kind, Packed) else None
        layer.__class__ = kind
        if weight is not None:
            cast(Packed, layer).hold(weight)

    def detach() -> None:
        plain = {packed: kind for kind, packed in KINDS.items()}
        for layer in layers:
            weight = layer.weight if isinstance(layer, Packed) else None
            layer.__class__ = plain[type(layer)]  # pyright: ignore[reportAttributeAccessIssue]
            if weight is not None:
                del vars(layer)["held"]
                # The weight before the bias, as every layer of its class has them.
                layer._parameters = {"weight": nn.Parameter(weight, requires_grad=False), **layer._parameters}

    return detach


class SketchedConv2d(nn.Conv2d):
    """What `PackedConv2d` makes, on the meta device."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        x = x.contiguous(memory_format=torch.channels_last)
        if x.dtype in DTYPES and transforms(self, x.dtype, x.shape):
            vars(self)["panels"] = panels(self, x.dtype)
        return super().forward(x)


class SketchedActivated(Activated):
    """What `PackedActivated` makes, on the meta device: no norm between."""

    def forward(self, norm: nn.Module, x: Tensor) -> Tensor:
        plain = type(norm) is not nn.GroupNorm or normalise.reason()
        return super().forward(norm, x) if plain else torch.empty_like(x)


class SketchedGated(Gated):
    """What `PackedGated` makes, on the meta device: no activation between."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if gate.reason() else x.new_empty((*x.shape[:-1], x.shape[-1] // 2))


#: What stands in for which operation.
SKETCHED: dict[type[nn.Module], type[nn.Module]] = {Activated: SketchedActivated, Gated: SketchedGated}


def sketch(net: nn.Module) -> Callable[[], dict[nn.Module, int]]:
    """See `Engine.sketch`."""
    convolutions = [layer for layer in net.modules() if type(layer) is nn.Conv2d]
    for layer in convolutions:
        layer.__class__ = SketchedConv2d
    for layer in net.modules():
        layer.__class__ = SKETCHED.get(type(layer), type(layer))
    return lambda: {layer: vars(layer)["panels"] for layer in convolutions if "panels" in vars(layer)}


PACKED = Engine(
    attach=attach,
    record=lambda: {"kernels": running()},
    steady=True,
    sketch=sketch,
    reason=lambda where: reason() if where.type == "cpu" else f"layers are packed for processors, not for {where.type}",
    does="Weights packed once for the processor; attention, norms and gates by kernels of our own where they run.",
)
