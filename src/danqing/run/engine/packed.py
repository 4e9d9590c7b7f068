"""The engine that changes the classes of layers and blocks to those of `layers` and `block`.

A layer keeps its identity and changes its class, so whatever holds it (an adapter's stack, a memory of texts) holds it
still; what it was comes back, bit for bit, with the class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from ...nets.blocks import ResnetBlock
from ...nets.operations import Activated, Added, Attend, Gated
from ...nets.unet import TransformerBlock
from ..looked import Seldom
from ..native.chosen import running
from ..native.gated import KERNEL as gate
from ..native.normalise import KERNEL as normalise
from .block import PackedResnetBlock, PackedTransformerBlock
from .engines import Engine
from .layers import (
    DTYPES,
    Packed,
    PackedActivated,
    PackedAdded,
    PackedAttend,
    PackedConv2d,
    PackedGated,
    PackedGroupNorm,
    PackedLayerNorm,
    PackedLinear,
    PackedSeldom,
    beforehand,
    panels,
    transforms,
)

#: What stands in for which kind of layer; a subclass of one is another kind.
KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: PackedLinear,
    Seldom: PackedSeldom,
    nn.Conv2d: PackedConv2d,
    nn.GroupNorm: PackedGroupNorm,
    nn.LayerNorm: PackedLayerNorm,
    Attend: PackedAttend,
    Activated: PackedActivated,
    Added: PackedAdded,
    Gated: PackedGated,
    ResnetBlock: PackedResnetBlock,
    TransformerBlock: PackedTransformerBlock,
}


def packable(layer: nn.Module) -> bool:
    """Whether a layer can be packed as it is."""
    if type(layer) not in KINDS:
        return False
    if type(layer) not in (nn.Linear, nn.Conv2d):
        return True
    layer = cast(nn.Linear | nn.Conv2d, layer)
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
        if x.dtype in DTYPES and transforms(self, x.dtype, x.shape) and beforehand(self, x.dtype, x.shape):
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
