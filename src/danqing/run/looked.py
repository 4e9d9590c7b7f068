"""What is looked at seldom, tables of which a few rows are looked up, layers that compute once a picture: their numbers
stay as the file has them, which may leave them on the disk, and are made wide when they are asked."""

from __future__ import annotations

from typing import Any, NamedTuple, Self
from typing import cast as typed

import torch
from torch import Tensor, nn

from ..weights.cast import cast
from ..weights.load import Keep
from ..weights.mappings import put_down
from .quantise.layers import TOWERS, QuantisedLinear

#: Tables of fewer numbers are not worth it; those of positions, which are read otherwise, have fewer.
LARGE = 1 << 20
#: Nor are layers of fewer.
HEAVY = 1 << 19


class Looked(nn.Embedding):
    """``y = W[ids]`` in a wider type than that of W, which holds each of its numbers: no number of y is another."""

    wide: torch.dtype

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).to(self.wide)

    def keep(self, weight: Tensor) -> None:
        """Keep a weight as a file has it, where its type is a narrow one."""
        held = weight if weight.is_floating_point() and weight.element_size() == 2 else cast(weight, self.wide)
        self.weight = nn.Parameter(held, requires_grad=False)


class Filed(NamedTuple):
    """A weight as its file has it: a `danqing.weights.bits.Stored` of as many bits as it has there."""

    weight: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        return cls(weight)

    def dense(self, dtype: torch.dtype) -> Tensor:
        return self.weight.to(dtype)

    def moved(self, move: Any) -> Self:
        return type(self)(move(self.weight))

    def parts(self) -> dict[str, Tensor]:
        return self._asdict()

    @classmethod
    def read(cls, parts: Any, shape: torch.Size) -> Self:
        return cls(**parts)

    @property
    def size(self) -> int:
        return self.weight.nbytes


class Seldom(QuantisedLinear):
    """``W x + b``, W as its file has it until the layer is asked, and then let go: no number of y is another."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        y = self.computed(x)
        self.stored.moved(put_down)
        return y

    def computed(self, x: Tensor) -> Tensor:
        """What it answers."""
        return super().forward(x)


def large(layer: nn.Module) -> bool:
    """Whether a layer is such a table."""
    return type(layer) in (nn.Embedding, Looked) and layer.weight.numel() >= LARGE  # pyright: ignore


def heavy(role: str, layer: nn.Module) -> bool:
    """Whether a layer of the network of a role is such a layer."""
    return role in TOWERS and type(layer) is nn.Linear and layer.weight.numel() >= HEAVY


def looking(role: str, net: nn.Module, dtype: torch.dtype) -> dict[str, Keep]:
    """Have the tables of a role's network looked up so, and what takes their numbers, by their names; its layers too
    where it computes once a picture, whose numbers `danqing.run.quantise.layers.keeping` takes.

    Args:
        dtype: what the network computes in; of 16 bits it is left as it is.
    """
    if dtype.itemsize <= 2:
        return {}
    found = dict[str, Keep]()
    for name, layer in net.named_modules():
        if large(layer):
            layer.__class__ = Looked
            layer.wide = dtype  # pyright: ignore[reportArgumentType]
            found[f"{name}.weight"] = layer.keep  # pyright: ignore
        elif heavy(role, layer):
            weight = typed(Tensor, layer._parameters.pop("weight"))
            layer.__class__ = Seldom
            typed(Seldom, layer).hold(Filed(weight.detach()), dtype)
    return found
