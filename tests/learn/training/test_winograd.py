"""Laws of training by Winograd: the same convolution and the same gradients, in fewer multiplications."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from danqing.learn.training.winograd import Winograd, by_winograd


def both(size: tuple[int, int], dtype: torch.dtype, bias: bool = True) -> list[list[torch.Tensor]]:
    """Output and gradients of input, kernels and bias, directly and by Winograd."""
    torch.manual_seed(0)
    direct = nn.Conv2d(5, 7, 3, padding=1, bias=bias).to(dtype)
    other = by_winograd(nn.Sequential(nn.Conv2d(5, 7, 3, padding=1, bias=bias).to(dtype)))
    other[0].load_state_dict(direct.state_dict())  # pyright: ignore[reportIndexIssue]
    assert isinstance(other[0], Winograd)  # pyright: ignore[reportIndexIssue]
    found = []
    for layer in (direct, other):
        x = torch.randn(3, 5, *size, dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = layer(x)
        (y * torch.randn(y.shape, dtype=dtype, generator=torch.Generator().manual_seed(2))).sum().backward()
        found.append([y, x.grad, *(p.grad for p in layer.parameters())])
    return found


@pytest.mark.parametrize("size", [(4, 4), (8, 16), (12, 4), (6, 8), (5, 7)])
def test_output_and_gradients_are_those_of_the_direct_convolution(size: tuple[int, int]) -> None:
    for direct, other in zip(*both(size, torch.float64), strict=True):
        torch.testing.assert_close(other, direct, rtol=1e-10, atol=1e-10)


def test_single_precision_loses_one_digit() -> None:
    for direct, other in zip(*both((16, 16), torch.float32, bias=False), strict=True):
        torch.testing.assert_close(other, direct, rtol=0, atol=1e-4 * direct.detach().abs().max().item())


def test_the_answer_is_laid_out_channels_last() -> None:
    y = by_winograd(nn.Conv2d(3, 4, 3, padding=1))(torch.randn(2, 3, 8, 8))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_only_convolutions_that_it_computes_are_taken_over_and_names_stay() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
    )
    before = set(net.state_dict())
    assert [isinstance(layer, Winograd) for layer in by_winograd(net).children()] == [True, *[False] * 4]
    assert set(net.state_dict()) == before
