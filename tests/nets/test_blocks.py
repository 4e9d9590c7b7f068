"""Laws of layers that stand in for torch's own, which are slower on a CPU: the same numbers and the same slopes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danqing.nets.blocks import doubled, halved
from danqing.nets.cyclegan import Reflect
from danqing.nets.pixelcnn import gate

#: Ours and torch's.
PAIRS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "doubled": (doubled, lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest")),
    "halved": (halved, lambda x: F.avg_pool2d(x, 2)),
    "one pixel reflected": (Reflect(1), lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "three pixels reflected": (Reflect(3), lambda x: F.pad(x, (3, 3, 3, 3), mode="reflect")),
    "gate": (gate, lambda x: x[:, :2].tanh() * x[:, 2:].sigmoid()),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", PAIRS)
def test_value_and_slope_are_those_of_torch(name: str, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn(2, 4, 6, 8, generator=generator, dtype=torch.float64)
        .contiguous(memory_format=layout)
        .requires_grad_()
    )
    ours, theirs = (layer(x) for layer in PAIRS[name])
    torch.testing.assert_close(ours, theirs)
    g = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, g)[0] for y in (ours, theirs)))
