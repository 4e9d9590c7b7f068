"""Layers whose weights are kept in few bits.

A layer keeps its identity and changes its class, as a packed one does. ``weight`` is what its bits stand for; to set it
makes the layer a plain one again, so that what a LoRA folds in, or the terms that it adds, lose nothing to rounding.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ...weights.bits import Groups, Panels, Rows, Stored, outlined
from ...weights.load import Keep
from ..native import octets
from .quantisers import Quantiser

#: Layers that are few, and that a picture is sensitive to: what reads the noise or writes the estimate, what hears the
#: time, and what is computed once a picture.
KEPT = re.compile(r"(^|\.)(time|add_|class_|norm|conv_in|conv_out|pos_embed|context_embedder|draft)|^proj_out\b")
#: Layers of fewer channels are kept too.
FEW = 32
#: The roles of the networks that compute once a picture.
TOWERS = ("text", "text_2", "text_3")


class Quantised(nn.Module):
    """A layer whose weight is kept in few bits alone."""

    bias: Tensor | None
    #: What it was.
    plain: type[nn.Module]

    def hold(self, stored: Stored, dtype: torch.dtype) -> None:
        """Keep a weight so; a dense one is of the dtype."""
        vars(self).update(stored=stored, dtype=dtype)

    @property
    def stored(self) -> Any:
        """The weight as it is kept."""
        return vars(self)["stored"]

    @property
    def weight(self) -> Tensor:
        return self.stored.dense(vars(self)["dtype"])

    def keep(self, dtype: torch.dtype, device: torch.device, weight: Tensor | Stored) -> None:
        """Keep a weight that comes as a file has it; a dense one is of the dtype, on the device."""
        kind: type[Stored] = type(self.stored)
        dense = weight if isinstance(weight, Tensor) else None
        if dense is None and not isinstance(weight, kind):
            dense = cast(Stored, weight).dense(dtype)
        held = cast(Stored, weight) if dense is None else kind.of(dense.detach())
        self.hold(held.moved(lambda tensor: tensor.to(device)), dtype)

    def release(self, weight: Tensor) -> None:
        """Be a plain layer of this weight."""
        del vars(self)["stored"], vars(self)["dtype"]
        self.__class__ = self.plain  # pyright: ignore[reportAttributeAccessIssue]
        kept = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, requires_grad=False)
        # The weight before the bias, as every layer of its class has them.
        self._parameters = {"weight": kept, **self._parameters}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            self.release(value)
        else:
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Quantised:
        other = cast(Quantised, type(self).__new__(type(self)))
        memo |= {id(each): each for each in (self.stored, vars(self)["dtype"])}  # which never change: both share them
        vars(other).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return other

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Quantised:
        """Steps and scales keep their type; what a dense weight is of is what ``fn`` makes of one."""
        like = fn(torch.empty(0, dtype=vars(self)["dtype"], device=self.device))
        self.hold(self.stored.moved(lambda tensor: tensor.to(like.device)), like.dtype)
        return super()._apply(fn, recurse)

    @property
    def device(self) -> torch.device:
        """Where the weight is."""
        found: list[torch.device] = []
        self.stored.moved(lambda tensor: found.append(tensor.device) or tensor)
        return found[0]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **named: Any) -> None:
        given = {**state_dict}
        if (weight := given.pop(f"{prefix}weight", None)) is not None:
            self.hold(type(self.stored).of(weight.detach()), weight.dtype)
        super()._load_from_state_dict(given, prefix, *args, **named)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)


class QuantisedLinear(Quantised, nn.Linear):  # pyright: ignore[reportIncompatibleVariableOverride]
    """``W x + b``, W made of its bits at each call."""

    plain = nn.Linear


class QuantisedConv2d(Quantised, nn.Conv2d):  # pyright: ignore[reportIncompatibleVariableOverride]
    """A convolution, its kernels made of their bits at each call."""

    plain = nn.Conv2d


class BytesLinear(QuantisedLinear):
    """``W x + b`` in whole numbers, W in 8 bits, x in as many as ``bits``."""

    bits = 8

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            return super().forward(x)
        return octets.multiply(x, self.stored, self.bias, bits=self.bits)


class BytesConv2d(QuantisedConv2d):
    """A convolution in whole numbers, of kernels in 8 bits and pictures in as many as ``bits``."""

    bits = 8

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled() or x.dim() != 4:
            return super().forward(x)
        return octets.multiply(x, self.stored, self.bias, self.stride[0], cast(int, self.padding[0]), self.bits)


class WordsLinear(BytesLinear):
    """What comes in 16 bits, more than bf16 holds."""

    bits = 16


class WordsConv2d(BytesConv2d):
    """What comes in 16 bits, more than bf16 holds."""

    bits = 16


class Way(NamedTuple):
    """How a weight is kept, and what stands in for which kind of layer; a subclass of one is another kind."""

    kept: type[Stored]
    linear: type[QuantisedLinear]
    convolution: type[QuantisedConv2d]


BYTES = Way(Panels, BytesLinear, BytesConv2d)
WORDS = Way(Panels, WordsLinear, WordsConv2d)
ROWS = Way(Rows, QuantisedLinear, QuantisedConv2d)
GROUPS = Way(Groups, QuantisedLinear, QuantisedConv2d)


def quantisable(name: str, layer: nn.Module) -> bool:
    """Whether a layer's weight can be kept in few bits, and is not one that had better not."""
    if type(layer) not in (nn.Linear, nn.Conv2d) or KEPT.search(name):
        return False
    weight = cast(Tensor, layer.weight)
    fits = weight.is_floating_point() and min(weight.shape[:2]) >= FEW
    if not isinstance(layer, nn.Conv2d):
        return fits
    square = all(len({*map(int, each)}) == 1 for each in (layer.kernel_size, layer.stride, layer.padding))
    return fits and square and layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"


def attach(net: nn.Module, way: Way) -> Callable[[], None]:
    """Keep the weights of a network's layers in few bits; what is returned makes the layers plain ones again, of the
    weights that the bits stand for."""
    layers = [layer for name, layer in net.named_modules() if quantisable(name, layer)]
    for layer in layers:
        weight = cast(Tensor, layer._parameters.pop("weight"))
        kind = way.linear if isinstance(layer, nn.Linear) else way.convolution
        layer.__class__ = kind  # pyright: ignore[reportAttributeAccessIssue]
        stored = outlined(way.kept, weight.shape) if weight.is_meta else way.kept.of(weight.detach())
        cast(Quantised, layer).hold(stored, weight.dtype)

    def detach() -> None:
        for layer in layers:
            if isinstance(layer, Quantised):
                layer.release(layer.weight)

    return detach


def keeping(net: nn.Module, dtype: torch.dtype, device: torch.device) -> dict[str, Keep]:
    """What takes the weights of a network's layers in few bits as its file has them, by their names; what they stand
    for is of the dtype, on the device."""
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, Quantised)}
    return {f"{name}.weight": partial(layer.keep, dtype, device) for name, layer in layers.items()}


def _by_role(denoiser: Way) -> Callable[[str, nn.Module], Callable[[], None]]:
    """The denoiser so, the text towers, which compute once a picture, in rows; all else as it is."""
    ways = {"denoiser": denoiser, **dict.fromkeys(TOWERS, ROWS)}
    return lambda role, net: attach(net, ways[role]) if role in ways else lambda: None


INT8 = Quantiser(
    attach=_by_role(BYTES),
    does="Weights in 8 bits; in the denoiser what they are multiplied with too.",
)
INT8_WEIGHTS = Quantiser(
    attach=_by_role(WORDS), does="Weights in 8 bits; in the denoiser what they are multiplied with in 16."
)
INT4 = Quantiser(
    attach=_by_role(GROUPS),
    does="Weights of the denoiser in 4 bits, those of the text in 8; what they are multiplied with as it is.",
)
