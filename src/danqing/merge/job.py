"""What a method is given, and what it says is to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..store.tensors import Due
from .blocks import Weights
from .given import Given


@dataclass(frozen=True, kw_only=True)
class Job:
    """The files in their order, the weights of those behind the first, and the type that is wanted, if one is."""

    given: Sequence[Given]
    weights: Sequence[Weights] = ()
    dtype: torch.dtype | None = None

    def type_of(self, dtype: torch.dtype) -> torch.dtype:
        """What a tensor of some type is written in."""
        return self.dtype if self.dtype is not None and dtype.is_floating_point else dtype


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be written.

    Args:
        tensors: by name, made when they are written, or made already.
        lead: the file whose metadata about its networks hold for the result; None where it holds none.
        metadata: that the method adds.
        notes: what is to be said, in words.
    """

    tensors: Mapping[str, Due | Tensor]
    lead: Given | None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: Sequence[str] = ()


def due(like: Due, dtype: torch.dtype, make: Callable[[], Tensor]) -> Due:
    """A tensor of the shape of another."""
    return Due(dtype=dtype, shape=like.shape, make=make)
