"""LoRA and its kin: small changes ΔW of a network's weights, beside them (`attach`) or folded into them (`merge`).

``y = W x + b + Σ_i w_i (ΔW_i x + Δb_i)``, w_i the strength of the i-th LoRA. Each ΔW_i is that of the network as it was
without any, DoRA's too, so that order does not matter and any may go first. Source: Hu et al. 2021, section 4.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput, UnknownName
from .base import Detach, place
from .deltas import Delta, LowRank, matrix

#: The attribute under which what stands at a layer's place keeps the layer's `Stack`.
MARK = "danqing_stack"


class Pointwise(nn.Module):
    """``W x`` over the channels: W (out, in) for (…, in), W (out, in, 1, 1) for (B, in, H, W)."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = cast(Tensor, self.weight)
        return F.linear(x, weight) if weight.ndim == 2 else F.conv2d(x, weight)


class Adapted(nn.Module):
    """A layer and what is added to its output: ``y = layer(x) + Σ term(x)``."""

    def __init__(self, layer: nn.Module, terms: list[nn.Module]):
        super().__init__()
        self.inner = layer
        self.terms = nn.ModuleList(terms)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        for term in self.terms:
            y = y + term(x)
        return y


def like(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> Any:
    """The same kind of layer with another weight and bias; the rest (stride, groups, …) as it is."""
    # The memo keeps the copy from copying numbers that it gives up at once.
    other: Any = copy.deepcopy(layer, {id(p): p for p in layer.parameters()})
    learns = cast(Any, layer).weight.requires_grad
    other.weight = nn.Parameter(weight, requires_grad=learns)
    if bias is not None or getattr(layer, "bias", None) is not None:
        other.bias = None if bias is None else nn.Parameter(bias, requires_grad=learns)
    return other


@torch.no_grad()
def change(layer: nn.Module, delta: Delta) -> tuple[Tensor, Tensor | None]:
    """(ΔW, Δb or None) for a layer, in at least float32."""
    weight: Tensor = cast(Any, layer).weight
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    changed = torch.zeros_like(wide) if delta.weight is None else delta.weight.change(wide)
    return changed, None if delta.bias is None else delta.bias.to(wide).reshape(-1)


@torch.no_grad()
def term(layer: nn.Module, delta: Delta, strength: float) -> nn.Module:
    """``strength · (ΔW x + Δb)`` as a module: through the rank where there is one, else as one layer of ΔW."""
    weight: Tensor = cast(Any, layer).weight
    kind = delta.weight
    grouped = isinstance(layer, nn.Conv2d) and layer.groups > 1
    if (
        not isinstance(kind, LowRank)
        or not isinstance(layer, nn.Linear | nn.Conv2d)
        or grouped
        or delta.bias is not None
    ):
        changed, bias = change(layer, delta)
        return like(
            layer, (strength * changed).to(weight.dtype), None if bias is None else (strength * bias).to(weight.dtype)
        )
    wide = torch.empty(0, dtype=torch.promote_types(weight.dtype, torch.float32), device=weight.device)
    up = matrix(kind.up, wide) * (kind.scale * strength)
    ones = [1] * (weight.ndim - 2)  # the kernel of a pointwise layer
    down = [Pointwise(matrix(kind.down, weight).reshape(len(kind.down), -1, *ones))] if kind.mid is not None else []
    core = kind.down.to(weight).reshape(-1, *weight.shape[1:]) if kind.mid is None else kind.mid.to(weight)
    if isinstance(layer, nn.Linear):  # a core of a linear layer has a kernel of 1 × 1
        core = core.flatten(1)
    return nn.Sequential(*down, like(layer, core, None), Pointwise(up.to(weight.dtype).reshape(*up.shape, *ones)))


@dataclass(frozen=True, eq=False)
class Entry:
    """One change of one layer: beside it as ``term``, or folded in where that is None."""

    delta: Delta
    strength: float
    term: nn.Module | None


class Stack(NamedTuple):
    """A layer as it was, and all changes of it."""

    original: nn.Module
    entries: tuple[Entry, ...] = ()

    @torch.no_grad()
    def build(self) -> nn.Module:
        """What is to stand at the layer's place: the layer itself where nothing changes it.

        Each time another module: whoever remembers what a module said (`danqing.run.textcache`) has to ask again.
        """
        folded = [entry for entry in self.entries if entry.term is None]
        terms = [entry.term for entry in self.entries if entry.term is not None]
        layer: Any = self.original
        if folded:
            layer = like(layer, *self._sum(folded))
        result = Adapted(layer, terms) if terms else layer
        if self.entries:
            result.__dict__[MARK] = self
        return result

    def _sum(self, folded: list[Entry]) -> tuple[Tensor, Tensor | None]:
        """``W + Σ w ΔW`` and ``b + Σ w Δb``, summed in at least float32, in the layer's own dtype."""
        layer = cast(Any, self.original)
        weight: Tensor = layer.weight.detach()
        wide = torch.promote_types(weight.dtype, torch.float32)
        total, bias = weight.to(wide), getattr(layer, "bias", None)
        shift = None if bias is None else bias.detach().to(wide)
        for entry in folded:
            changed, moved = change(layer, entry.delta)
            total = total + entry.strength * changed
            if moved is not None:
                shift = entry.strength * moved + (0 if shift is None else shift)
        return total.to(weight.dtype), None if shift is None else shift.to(weight.dtype)


@dataclass(frozen=True, eq=False)
class Worn:
    """The changes of one network at one strength: an `Adapter`.

    Args:
        deltas: by the names of the network's layers, as `danqing.adapt.base.layers` gives them.
        strength: w; 0 changes nothing, and is free.
    """

    deltas: Mapping[str, Delta]
    strength: float = 1.0

    def attach(self, target: nn.Module) -> Detach:
        """Add the changes beside the layers, exact in any dtype; the returned call takes them off, in any order.

        Raises:
            InvalidInput: a layer is missing or has another shape; nothing is attached then.
        """
        return self._put(target, lambda layer, delta: Entry(delta, self.strength, term(layer, delta, self.strength)))

    def merge(self, target: nn.Module) -> Detach:
        """Fold the changes into weights of their own, which costs nothing a call; the returned call takes them out.

        The sum is made in at least float32 and rounded to the layer's dtype once. The layers as they were are kept, so
        that taking out restores every bit, at the price of the memory of the layers changed.

        Raises:
            InvalidInput: as for `attach`.
        """
        return self._put(target, lambda _, delta: Entry(delta, self.strength, None))

    def _put(self, target: nn.Module, entry: Callable[[nn.Module, Delta], Entry]) -> Detach:
        if self.strength == 0:
            return lambda: None
        made: dict[str, Entry] = {}
        for name, delta in self.deltas.items():  # all of them before the first is put on
            layer = stack_at(target, name).original
            try:
                delta.check(cast(Any, layer).weight.shape)
            except InvalidInput as error:
                raise InvalidInput(f"the layer {name} cannot take this change: {error}") from None
            made[name] = entry(layer, delta)
        for name, new in made.items():
            restack(target, name, lambda entries, new=new: (*entries, new))

        def detach() -> None:
            for name, old in made.items():
                restack(target, name, lambda entries, old=old: tuple(e for e in entries if e is not old))

        return detach


def stack_at(net: nn.Module, name: str) -> Stack:
    """The stack of a layer; an empty one where nothing changes it."""
    return _stack(place(net, name, MARK).here)


def _stack(here: nn.Module) -> Stack:
    return vars(here).get(MARK) or Stack(here)


def restack(net: nn.Module, name: str, edit: Callable[[tuple[Entry, ...]], tuple[Entry, ...]]) -> None:
    """Put at a layer's place what its edited stack builds."""
    holder, attr, here = place(net, name, MARK)
    stack = _stack(here)
    edited = edit(stack.entries)
    if edited != stack.entries:
        setattr(holder, attr, stack._replace(entries=edited).build())


@dataclass(frozen=True, kw_only=True, eq=False)
class LoRA:
    """A LoRA file as read for a model; see `danqing.adapt.layouts.read`.

    Args:
        name: of the file, without folder and ending.
        deltas: role of a network ("denoiser", "text", "text_2", "text_3") -> name of a layer -> its change.
        unused: names of the file's tensors that change no layer of the networks it was read for.
        metadata: the strings that whoever wrote it left, ``ss_*`` and ``modelspec.*`` among them.
    """

    name: str
    deltas: Mapping[str, Mapping[str, Delta]]
    unused: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def on(self, role: str, strength: float = 1.0) -> Worn:
        """The adapter of one of the networks that it was read for, which may be one that it does not change.

        Raises:
            UnknownName: it was read for no such network.
        """
        if role not in self.deltas:
            raise UnknownName("network", role, self.deltas)
        return Worn(self.deltas[role], strength)
