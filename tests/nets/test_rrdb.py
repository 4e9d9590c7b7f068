"""Laws of ESRGAN's network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from danqing.errors import InvalidInput
from danqing.nets.rrdb import RESIDUAL, X1, X2, X4, X4_ANIME, RRDBNet, RRDBNetConfig

TINY = {
    name: replace(config, channels=4, growth=2, blocks=1)
    for name, config in {
        "x1": X1,
        "x2": X2,
        "x4": X4,
        "x8": replace(X4, ups=3),
        "x2 by one": replace(X4, ups=1),
    }.items()
}


@pytest.fixture(params=TINY.values(), ids=list(TINY))
def config(request: pytest.FixtureRequest) -> RRDBNetConfig:
    return request.param


def build(config: RRDBNetConfig) -> RRDBNet:
    torch.manual_seed(0)
    return RRDBNet(config)


def picture(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_answer_is_scale_times_as_high_and_wide(config: RRDBNetConfig) -> None:
    assert build(config)(picture(8, 12)).shape == (1, 3, 8 * config.scale, 12 * config.scale)


def test_the_published_scales_and_reaches_follow_from_the_shape() -> None:
    assert [c.scale for c in (X1, X2, X4, X4_ANIME)] == [1, 2, 4, 4]
    assert [c.reach for c in (X4_ANIME, X4, X2)] == [94, 349, 698]


@torch.no_grad()
def test_a_batch_equals_its_singles(config: RRDBNetConfig) -> None:
    net, x = build(config).double(), picture(8, 4, 3).double()
    torch.testing.assert_close(torch.cat([net(one[None]) for one in x]), net(x))


def test_every_parameter_gets_a_gradient(config: RRDBNetConfig) -> None:
    net = build(config)
    net(picture(8, 8)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_activations_in_place_leave_the_gradient_right() -> None:
    """Against differences, in double precision."""
    net = build(replace(X4, channels=2, growth=1, blocks=1, ups=1)).double()
    assert torch.autograd.gradcheck(net, picture(3, 3).double().requires_grad_())


def test_no_pixel_beyond_the_reach_matters_and_those_near_do(config: RRDBNetConfig) -> None:
    """By the gradient of one output pixel."""
    fold, scale, reach = config.unshuffle, config.scale, config.reach
    centre = reach + fold
    side = 2 * centre + fold
    x = picture(side + (-side) % fold, 4 * fold).requires_grad_()
    build(config)(x)[0, :, scale * centre : scale * (centre + 1), 0].sum().backward()
    assert x.grad is not None
    felt = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert felt.min() >= centre - reach and felt.max() <= centre + reach
    # The trunk's convolutions alone, all of which are at the low resolution.
    assert felt.min() <= centre - fold * (15 * config.blocks + 2)


@torch.no_grad()
def test_without_its_last_convolutions_each_dense_block_is_the_identity() -> None:
    net = build(TINY["x4"])
    block = net.body[0]
    x = torch.randn(1, 4, 5, 5)
    for name, p in block.named_parameters():
        if "conv5" in name:
            p.zero_()
    # y = x + 0.2 f(x) with f the identity thrice
    torch.testing.assert_close(block(x), (1 + RESIDUAL) * x)


@torch.no_grad()
def test_built_on_meta_and_assigned_equals_built_directly(config: RRDBNetConfig) -> None:
    net, x = build(config), picture(4, 8)
    with torch.device("meta"):
        other = RRDBNet(config)
    other.load_state_dict(net.state_dict(), strict=True, assign=True)
    assert torch.equal(other(x), net(x))


@torch.no_grad()
def test_channels_last_and_double_precision_change_only_the_rounding(config: RRDBNetConfig) -> None:
    x = picture(8, 4)
    y = build(config)(x)
    last = build(config).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(build(config).double()(x.double()), y.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(33, 32), (32, 7)])
def test_a_picture_that_does_not_fold_is_refused_with_the_multiple(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="multiples of 2 pixels"):
        build(TINY["x2"])(torch.zeros(1, 3, *size))


def test_a_shape_that_makes_smaller_is_refused() -> None:
    with pytest.raises(InvalidInput, match="double more often"):
        RRDBNet(replace(X1, ups=1))
