"""Tables of which a few rows are looked up: their numbers stay as the file has them, which may leave them on the disk,
and the rows alone are made wide."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..weights.cast import cast
from ..weights.load import Keep

#: Tables of fewer numbers are not worth it; those of positions, which are read otherwise, have fewer.
LARGE = 1 << 20


class Looked(nn.Embedding):
    """``y = W[ids]`` in a wider type than that of W, which holds each of its numbers: no number of y is another."""

    wide: torch.dtype

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).to(self.wide)

    def keep(self, weight: Tensor) -> None:
        """Keep a weight as a file has it, where its type is a narrow one."""
        held = weight if weight.is_floating_point() and weight.element_size() == 2 else cast(weight, self.wide)
        self.weight = nn.Parameter(held, requires_grad=False)


def large(layer: nn.Module) -> bool:
    """Whether a layer is such a table."""
    return type(layer) in (nn.Embedding, Looked) and layer.weight.numel() >= LARGE  # pyright: ignore


def looking(net: nn.Module, dtype: torch.dtype) -> dict[str, Keep]:
    """Have a network's tables looked up so, and what takes their numbers, by their names.

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
    return found
