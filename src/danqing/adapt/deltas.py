"""How files write the change ΔW of a layer's weight W, each as a formula, and the change of one layer.

A convolution's kernel (out, in, h, w) is the matrix (out, in·h·w). ``scale`` is alpha / rank, or 1. Formulas are
computed in the dtype and on the device of the W that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..errors import InvalidInput

#: Some of the rows of a tensor, by a view or a copy.
Take = Callable[[Tensor], Tensor]


class Kind(Protocol):
    """A formula for ΔW."""

    def change(self, weight: Tensor) -> Tensor:
        """ΔW for W, of its shape.

        Raises:
            InvalidInput, RuntimeError: the parts fit neither W nor each other.
        """
        ...

    def rows(self, take: Take) -> Kind:
        """The change of those of W's rows that ``take`` takes."""
        ...


def shaped(change: Tensor, weight: Tensor) -> Tensor:
    """A change in the shape of W; refuses another number of rows or columns."""
    if change.shape[0] != weight.shape[0] or change.numel() != weight.numel():
        raise InvalidInput(
            f"a change of {' × '.join(map(str, change.shape))} for a weight of {' × '.join(map(str, weight.shape))}"
        )
    return change.reshape(weight.shape)


@contextmanager
def fitting() -> Iterator[None]:
    """Within the context, parts whose shapes contradict each other are an `InvalidInput`, not an error of the
    library's."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        raise InvalidInput(f"parts that do not fit each other ({str(error).splitlines()[0]})") from None


def matrix(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor as a matrix, all axes but the first joined, in the dtype and on the device of ``like``."""
    return tensor.to(like).flatten(1)


@dataclass(frozen=True, eq=False)
class LowRank:
    """``scale · up · down``; with a core (LoCon's Tucker form) ``ΔW_oihw = scale · Σ up_om mid_mnhw down_ni``.

    Source: Hu et al. 2021, section 4.1; Yeh et al. 2023 (LyCORIS), section 3.

    Args:
        up: (out, r).
        down: (r, in·h·w); with a core (r, in).
        mid: (r, r, h, w).
    """

    up: Tensor
    down: Tensor
    mid: Tensor | None = None
    scale: float = 1.0

    def change(self, weight: Tensor) -> Tensor:
        up, down = matrix(self.up, weight), matrix(self.down, weight)
        if self.mid is None:
            return shaped(self.scale * (up @ down), weight)
        return shaped(self.scale * torch.einsum("om,mnhw,ni->oihw", up, self.mid.to(weight), down), weight)

    def rows(self, take: Take) -> LowRank:
        return replace(self, up=take(self.up))


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix ``a b``, a (out, r), b (r, in); with a core ``P_oihw = Σ core_mnhw a_mo b_ni``, a (r, out), b (r,
    in)."""

    a: Tensor
    b: Tensor
    core: Tensor | None = None

    def of(self, like: Tensor) -> Tensor:
        if self.core is None:
            return matrix(self.a, like) @ matrix(self.b, like)
        return torch.einsum("mnhw,mo,ni->oihw", self.core.to(like), self.a.to(like), self.b.to(like))


@dataclass(frozen=True, eq=False)
class Hadamard:
    """LoHa: ``scale · first ⊙ second``. Source: Hyeon-Woo et al. 2021 (FedPara), section 2.2."""

    first: Product
    second: Product
    scale: float = 1.0

    def whole(self, like: Tensor) -> Tensor:
        return self.scale * self.first.of(like) * self.second.of(like)

    def change(self, weight: Tensor) -> Tensor:
        return shaped(self.whole(weight), weight)

    def rows(self, take: Take) -> Difference:
        return Difference(take(self.whole(torch.empty(0))))


@dataclass(frozen=True, eq=False)
class Kronecker:
    """LoKr: ``scale · first ⊗ second``, first (a, c), second (b, d) or (b, d, h, w): the weight is (a·b, c·d[, h, w]).

    Source: Yeh et al. 2023 (LyCORIS), section 3.
    """

    first: Product | Tensor
    second: Product | Tensor
    scale: float = 1.0

    def whole(self, like: Tensor) -> Tensor:
        first, second = (
            factor.of(like) if isinstance(factor, Product) else factor.to(like) for factor in (self.first, self.second)
        )
        return self.scale * torch.kron(
            first.reshape(*first.shape, *[1] * (second.ndim - first.ndim)), second.contiguous()
        )

    def change(self, weight: Tensor) -> Tensor:
        return shaped(self.whole(weight), weight)

    def rows(self, take: Take) -> Difference:
        return Difference(take(self.whole(torch.empty(0))))


@dataclass(frozen=True, eq=False)
class Difference:
    """ΔW itself."""

    value: Tensor

    def change(self, weight: Tensor) -> Tensor:
        return shaped(self.value.to(weight), weight)

    def rows(self, take: Take) -> Difference:
        return Difference(take(self.value))


@dataclass(frozen=True, eq=False)
class Replacement:
    """``value - W``: the file holds the new weight."""

    value: Tensor

    def change(self, weight: Tensor) -> Tensor:
        return shaped(self.value.to(weight), weight) - weight

    def rows(self, take: Take) -> Replacement:
        return Replacement(take(self.value))


def norms(weight: Tensor, axis: int) -> Tensor:
    """The norm for each index of one axis over all the others, which keep a length of 1."""
    return torch.linalg.vector_norm(weight, dim=[d for d in range(weight.ndim) if d != axis], keepdim=True)


@dataclass(frozen=True, eq=False)
class Decomposed:
    """DoRA: ``m (W + Δ) / ‖W + Δ‖ - W``, the norms taken for each index of one axis over all the others.

    Source: Liu et al. 2024, equation 5. The paper's norm is that of each column, the weights that read one input (axis
        1);
    peft's, and LyCORIS's where it says so, is that of each row, the weights of one output (axis 0).

    Args:
        inner: Δ.
        magnitude: m, one number for each index of the axis.
        axis: 0 or 1.
    """

    inner: Kind
    magnitude: Tensor
    axis: int

    def change(self, weight: Tensor) -> Tensor:
        if self.magnitude.numel() != weight.shape[self.axis]:
            side = ("outputs", "inputs")[self.axis]
            raise InvalidInput(f"{self.magnitude.numel()} magnitudes for {weight.shape[self.axis]} {side}")
        new = weight + self.inner.change(weight)
        norm = norms(new, self.axis)
        factor = self.magnitude.to(weight).reshape(norm.shape) / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        return new * factor - weight

    def rows(self, take: Take) -> Decomposed:
        if self.axis == 1:
            raise InvalidInput(
                "DoRA magnitudes of the inputs of layers joined into one, which cannot be told apart here"
            )
        return Decomposed(self.inner.rows(take), take(self.magnitude.reshape(-1)), 0)


@dataclass(frozen=True, eq=False)
class Delta:
    """The change of one layer: of its weight, of its bias (out,), or of both."""

    weight: Kind | None = None
    bias: Tensor | None = None

    def rows(self, take: Take) -> Delta:
        """The change of the layer that holds some of the rows; see `Kind.rows`."""
        bias = None if self.bias is None else take(self.bias)
        return Delta(None if self.weight is None else self.weight.rows(take), bias)

    def check(self, shape: Sequence[int]) -> None:
        """Refuse a layer whose weight has another shape; computes shapes alone.

        Raises:
            InvalidInput: it has, or the parts do not fit each other.
        """
        if self.weight is not None:
            with fitting():
                self.weight.change(torch.empty(tuple(shape), device="meta"))
        if self.bias is not None and self.bias.numel() != shape[0]:
            raise InvalidInput(f"{self.bias.numel()} biases for {shape[0]} outputs")
