"""Laws of Real-ESRGAN's small network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from danqing.nets.srvgg import GENERAL, VIDEO, SRVGGNetCompact, SRVGGNetCompactConfig

TINY = {f"x{scale}": replace(VIDEO, channels=4, convolutions=2, scale=scale) for scale in (1, 2, 3, 4)}


@pytest.fixture(params=TINY.values(), ids=list(TINY))
def config(request: pytest.FixtureRequest) -> SRVGGNetCompactConfig:
    return request.param


def build(config: SRVGGNetCompactConfig) -> SRVGGNetCompact:
    torch.manual_seed(0)
    return SRVGGNetCompact(config)


def picture(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_answer_is_scale_times_as_high_and_wide(config: SRVGGNetCompactConfig) -> None:
    assert build(config)(picture(5, 7)).shape == (1, 3, 5 * config.scale, 7 * config.scale)


@torch.no_grad()
def test_without_its_last_convolution_it_repeats_the_nearest_pixel(config: SRVGGNetCompactConfig) -> None:
    net, x = build(config), picture(3, 4)
    for p in net.body[-1].parameters():
        p.zero_()
    assert torch.equal(net(x), F.interpolate(x, scale_factor=config.scale, mode="nearest"))


@torch.no_grad()
def test_a_batch_equals_its_singles(config: SRVGGNetCompactConfig) -> None:
    net, x = build(config).double(), picture(5, 4, 3).double()
    torch.testing.assert_close(torch.cat([net(one[None]) for one in x]), net(x))


def test_every_parameter_gets_a_gradient(config: SRVGGNetCompactConfig) -> None:
    net = build(config)
    net(picture(6, 6)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_reach_is_one_pixel_a_convolution(config: SRVGGNetCompactConfig) -> None:
    """By the gradient of the pixels that stand for one pixel."""
    reach, scale = config.reach, config.scale
    assert (VIDEO.reach, GENERAL.reach) == (18, 34)
    x = picture(2 * reach + 5, 3).requires_grad_()
    middle = reach + 2
    build(config)(x)[0, :, scale * middle : scale * (middle + 1), 0].sum().backward()
    assert x.grad is not None
    felt = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (felt.min(), felt.max()) == (middle - reach, middle + reach)


@torch.no_grad()
def test_built_on_meta_and_assigned_equals_built_directly(config: SRVGGNetCompactConfig) -> None:
    net, x = build(config), picture(4, 5)
    with torch.device("meta"):
        other = SRVGGNetCompact(config)
    other.load_state_dict(net.state_dict(), strict=True, assign=True)
    assert torch.equal(other(x), net(x))


@torch.no_grad()
def test_channels_last_and_double_precision_change_only_the_rounding(config: SRVGGNetCompactConfig) -> None:
    x = picture(5, 4)
    y = build(config)(x)
    last = build(config).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(last(x.to(memory_format=torch.channels_last)), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(build(config).double()(x.double()), y.double(), rtol=1e-4, atol=1e-5)
