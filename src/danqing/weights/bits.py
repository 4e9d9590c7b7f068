"""Weights in few bits, and what they stand for: 8 bits with a scale for each output, 4 bits with a step and an offset
for every 32 weights. `danqing.weights.formats.few` says how a file has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from .formats import few
from .formats.few import FOUR, GROUP, PANEL
from .formats.format import TORCH_NAMES

#: How many weights are made at a time: as fp32 they stay in the processor's cache.
BLOCK = 1 << 18


class Stored(Protocol):
    """A weight in few bits."""

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        """A weight so."""
        ...

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weight that it stands for."""
        ...

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        """The same elsewhere: each of its tensors as ``move`` gives it."""
        ...

    def parts(self) -> dict[str, Tensor]:
        """Its tensors by the names that a file has them by."""
        ...

    @classmethod
    def read(cls, parts: Mapping[str, Tensor], shape: torch.Size) -> Self:
        """A weight of a shape whose tensors are these."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...


def by_output(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``W ≈ scale · q``, symmetric: q from -127 to 127, int8, of the shape of W, and a scale for each output, (O,),
    fp32.

    No weight is further from what stands for it than half of its scale. Source: Jacob et al. 2018, section 2.1.

    Args:
        weight: (O, …).
    """
    values = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(len(weight), device=weight.device)
    few = max(1, BLOCK // weight[0].numel())
    for new, steps, old in zip(values.split(few), scales.split(few), weight.split(few), strict=True):
        wide = old.float()
        scale = wide.abs().amax(tuple(range(1, wide.dim()))) / 127
        steps.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))
        new.copy_((wide / across(steps, wide)).round().clamp(-127, 127))
    return values, scales


def across(scale: Tensor, weight: Tensor) -> Tensor:
    """A number for each output, beside a weight."""
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


class Rows(NamedTuple):
    """8 bits a weight and a scale for each output: see `by_output`."""

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        """A weight so."""
        return cls(*by_output(weight))

    def dense(self, dtype: torch.dtype) -> Tensor:
        made = torch.empty(self.values.shape, dtype=dtype, device=self.values.device)
        few = max(1, BLOCK // self.values[0].numel())
        for new, old, scale in zip(made.split(few), self.values.split(few), self.scale.split(few), strict=True):
            new.copy_(old * across(scale, old))
        return made

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(*map(move, self))

    def parts(self) -> dict[str, Tensor]:
        return self._asdict()

    @classmethod
    def read(cls, parts: Mapping[str, Tensor], shape: torch.Size) -> Self:
        return cls(**parts)

    @property
    def size(self) -> int:
        return self.values.nbytes + self.scale.nbytes


class Panels(NamedTuple):
    """The same, as the kernel of `danqing.run.native.octets` multiplies them; `unpacked` gives back what was packed.

    Args:
        values: int8, (panels, taps, inputs / 4, 64, 4), filled with zeros.
        sums: int32, (panels · 64): of each output's weights.
        scale: fp32, (panels · 64).
        shape: of the weight, (O, C) or (O, C, k, k).
    """

    values: Tensor
    sums: Tensor
    scale: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        """A weight so."""
        return cls(*packed(*by_output(weight)))

    def dense(self, dtype: torch.dtype) -> Tensor:
        return Rows(*unpacked(self)).dense(dtype)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(move(self.values), move(self.sums), move(self.scale), self.shape)

    def parts(self) -> dict[str, Tensor]:
        return {"values": self.values, "sums": self.sums, "scale": self.scale}

    @classmethod
    def read(cls, parts: Mapping[str, Tensor], shape: torch.Size) -> Self:
        return cls(**parts, shape=shape)

    @property
    def kernel(self) -> int:
        """The width of a convolution's kernel; 1 for a linear layer."""
        return self.shape[-1] if len(self.shape) == 4 else 1

    @property
    def size(self) -> int:
        return sum(each.nbytes for each in self[:3])


def packed(weight: Tensor, scale: Tensor) -> Panels:
    """Whole weights in the order of the kernel.

    Args:
        weight: int8, (O, C) or (O, C, k, k).
        scale: fp32, (O,): what a weight stands for is ``scale · weight``.
    """
    outputs, inputs = weight.shape[:2]
    moved = weight.flatten(2).permute(0, 2, 1) if weight.dim() == 4 else weight[:, None]
    more = -outputs % PANEL
    moved = F.pad(moved, (0, -inputs % FOUR, 0, 0, 0, more))
    values = moved.unflatten(2, (-1, FOUR)).unflatten(0, (-1, PANEL)).permute(0, 2, 3, 1, 4).contiguous()
    sums = moved.sum((1, 2), dtype=torch.int32)
    return Panels(values, sums, F.pad(scale.float(), (0, more)), weight.shape)


def unpacked(panels: Panels) -> tuple[Tensor, Tensor]:
    """The whole weights and their scales, as `packed` got them."""
    outputs, inputs, *kernel = panels.shape
    moved = panels.values.permute(0, 3, 1, 2, 4).flatten(3).flatten(0, 1)[:outputs, :, :inputs]
    weight = moved.permute(0, 2, 1).reshape(outputs, inputs, *kernel).contiguous()
    return weight, panels.scale[:outputs]


class Groups(NamedTuple):
    """4 bits a weight, and a step and an offset, fp16, for every 32 of a row: ``W ≈ offset + step · q``.

    A row is all that an output reads. The step and the offset are rounded outwards, so that no weight is further from
    what stands for it than half a step.

    Args:
        values: uint8, (O, groups, 16): of each byte the low half is of the first 16 weights, the high half of the rest.
        step, offset: fp16, (O, groups).
        shape: of the weight.
    """

    values: Tensor
    step: Tensor
    offset: Tensor
    shape: torch.Size

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        """A weight so; a row that is no whole number of groups ends in zeros."""
        rows = weight.flatten(1).float()
        rows = F.pad(rows, (0, -rows.shape[1] % GROUP)).unflatten(1, (-1, GROUP))
        low, high = rows.aminmax(dim=2)
        offset = _half(low, low.half() > low, -torch.inf)
        rough = (high - offset.float()) / 15
        step = _half(rough, rough.half() * 15.0 + offset.float() < high, torch.inf)
        over = torch.where(step > 0, 1 / step.float(), 0)
        q = ((rows - offset.float()[..., None]) * over[..., None]).round().clamp(0, 15).to(torch.uint8)
        return cls(q[..., :16] | q[..., 16:] << 4, step, offset, weight.shape)

    def dense(self, dtype: torch.dtype) -> Tensor:
        outputs, inputs = self.shape[0], self.shape[1:].numel()
        made = torch.empty((outputs, inputs), dtype=dtype, device=self.values.device)
        few = max(1, BLOCK // inputs)
        parts = (each.split(few) for each in (made, self.values, self.step.float(), self.offset.float()))
        for new, both, step, offset in zip(*parts, strict=True):
            q = torch.cat((both & 15, both >> 4), dim=2)
            new.copy_((q * step[..., None] + offset[..., None]).flatten(1)[:, :inputs])
        return made.reshape(self.shape)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(move(self.values), move(self.step), move(self.offset), self.shape)

    def parts(self) -> dict[str, Tensor]:
        return {"values": self.values, "step": self.step, "offset": self.offset}

    @classmethod
    def read(cls, parts: Mapping[str, Tensor], shape: torch.Size) -> Self:
        return cls(**parts, shape=shape)

    @property
    def size(self) -> int:
        return sum(each.nbytes for each in self[:3])


def _half(number: Tensor, short: Tensor, towards: float) -> Tensor:
    """A number in fp16, the next one where it would fall short."""
    half = number.half()
    return torch.where(short, torch.nextafter(half, torch.full_like(half, towards)), half)


def outlined(kind: type[Stored], shape: torch.Size) -> Stored:
    """A weight of a shape on the meta device, in few bits: without a number, and without computing that there is none,
    which takes torch seconds and loads its compiler."""
    types = {name: getattr(torch, torch_name) for torch_name, name in TORCH_NAMES.items() if hasattr(torch, torch_name)}
    parts = next(few.KINDS[name] for name, own in KINDS.items() if own is kind)(tuple(shape))
    made = {own: torch.empty(size, dtype=types[dtype], device="meta") for own, (dtype, size) in parts.items()}
    return kind.read(made, shape)


#: By kind; `danqing.weights.formats.few.KINDS` has the tensors of each in a file.
KINDS: Mapping[str, type[Stored]] = {"rows": Rows, "panels": Panels, "groups": Groups}
