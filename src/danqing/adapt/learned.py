"""Changes of a network while they are learned: parameters beside its layers, which stand still; at first they change
nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import InvalidInput
from .base import INNER, Detach, layers, place
from .deltas import Decomposed, Delta, LowRank, norms
from .embedding import CLIP_TABLE, Extended

#: Stands for the points in names of layers, which names of modules may not have.
POINT = "/"


class LowRankTerm(nn.Module):
    """The change of one layer, ``ΔW = alpha / r · up · down``: up begins at zero, down as a layer's weights do.

    With ``decomposed`` it is DoRA's ``m (W + ΔW) / ‖W + ΔW‖ - W``, the norms of each output's weights, m at first those
    of W. Source: Hu et al. 2021, section 4.1; Liu et al. 2024, equation 5.

    Args:
        layer: an `nn.Linear`, or an `nn.Conv2d` of one group.
        rank: r, at least 1.
        alpha: above 0.
    """

    def __init__(self, layer: nn.Module, *, rank: int, alpha: float, decomposed: bool = False):
        super().__init__()
        weight = cast(Any, layer).weight
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, *weight.shape[1:]))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, *[1] * (weight.ndim - 2)))
        # Of a copy, for sums depend on how memory is aligned, and the quotient is to be 1 to the last bit.
        lengths = norms(weight.detach().float().clone(), 0).reshape(-1)  # (out,)
        self.magnitude = nn.Parameter(lengths) if decomposed else None
        self.to(weight.device)

    @property
    def delta(self) -> Delta:
        """The change as files state it."""
        low = LowRank(self.up, self.down, scale=self.scale)
        return Delta(low if self.magnitude is None else Decomposed(low, self.magnitude, 0))

    def forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        """What the changed layer makes of x."""
        if self.magnitude is not None:
            weight: Tensor = cast(Any, layer).weight
            kind = self.delta.weight
            assert kind is not None
            wide = weight.float()
            return functional_call(layer, {"weight": (wide + kind.change(wide)).to(weight.dtype)}, (x,))
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        if isinstance(layer, nn.Conv2d):
            told = F.conv2d(F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation), up)
        else:
            told = F.linear(F.linear(x, down), up)
        return layer(x) + self.scale * told


class Changed(nn.Module):
    """A layer and the term that changes it, whose parameters are not this module's."""

    def __init__(self, layer: nn.Module, term: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.inner, self._term = layer, (term,)

    def forward(self, x: Tensor) -> Tensor:
        return self._term[0](self.inner, x)


def changeable(net: nn.Module) -> list[str]:
    """The names of the layers that a `LowRankTerm` can change."""
    return [
        name
        for name, layer in layers(net).items()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    ]


class Changes(nn.Module):
    """Low-rank changes of layers of a model's networks.

    Args:
        nets: by role, "denoiser", "text", …
        names: role -> the layers that are changed.
        rank, alpha, decomposed: of each `LowRankTerm`.

    Raises:
        InvalidInput: no layer is named, or there is none of that name.
    """

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        names: Mapping[str, Sequence[str]],
        *,
        rank: int,
        alpha: float,
        decomposed: bool = False,
    ):
        super().__init__()
        if not any(names.values()):
            raise InvalidInput("no layer is named whose change could be learned")

        def term(role: str, name: str) -> nn.Module:
            layer = place(nets[role], name).here
            return LowRankTerm(layer, rank=rank, alpha=alpha, decomposed=decomposed)

        self.terms = nn.ModuleDict(
            {
                role: nn.ModuleDict({name.replace(".", POINT): term(role, name) for name in some})
                for role, some in names.items()
                if some
            }
        )

    def of(self, role: str) -> dict[str, LowRankTerm]:
        """Name -> the term of a network's layer."""
        found = cast(Mapping[str, LowRankTerm], dict(self.terms.items()).get(role, {}))
        return {name.replace(POINT, "."): term for name, term in found.items()}

    @property
    def deltas(self) -> dict[str, dict[str, Delta]]:
        """Role -> the name of a layer -> its change."""
        return {role: {name: term.delta for name, term in self.of(role).items()} for role in self.terms}

    def attach(self, nets: Mapping[str, nn.Module]) -> Detach:
        """Put the terms at their layers; the returned call takes them off, in any order.

        Raises:
            InvalidInput: a network has no layer of a name; then none stays on.
        """
        with ExitStack() as stack:
            for role in self.terms:
                for name, term in self.of(role).items():
                    stack.callback(put(nets[role], name, lambda here, term=term: Changed(here, term)))
            return stack.pop_all().close


class LearnedVectors(nn.Module):
    """The vectors of one word for the CLIP towers of a model.

    Args:
        vectors: role -> (k, D), where they begin.
    """

    def __init__(self, vectors: Mapping[str, Tensor]):
        super().__init__()
        self.vectors = nn.ParameterDict({role: nn.Parameter(value.clone()) for role, value in vectors.items()})

    def attach(self, nets: Mapping[str, nn.Module]) -> Detach:
        """Put the vectors behind the tables of tokens, from the id `embedding.FIRST` on."""
        with ExitStack() as stack:
            for role, value in self.vectors.items():
                stack.callback(put(nets[role], CLIP_TABLE, lambda here, value=value: Extended(here, value)))
            return stack.pop_all().close


def put(net: nn.Module, name: str, make: Callable[[nn.Module], nn.Module]) -> Detach:
    """Put a wrapper, which holds what it wraps as ``inner``, around a layer; the returned call takes it out again."""
    holder, attr, here = place(net, name)
    wrapper = make(here)
    setattr(holder, attr, wrapper)

    def detach() -> None:
        at, name = holder, attr
        while (there := at._modules[name]) is not wrapper:
            if there is None or INNER not in there._modules:
                return
            at, name = there, INNER
        setattr(at, name, here)

    return detach
