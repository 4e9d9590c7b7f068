"""Laws of the autoencoder and of its posterior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from danqing.errors import InvalidInput
from danqing.nets.autoencoder_kl import MINI, SD1, AutoencoderKL, AutoencoderKLConfig, Posterior

TINY = {
    "sd1": replace(SD1, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1),
    "mini": replace(MINI, block_out_channels=(8, 16), norm_num_groups=4, patch=2),
}


@pytest.fixture(params=TINY.values(), ids=TINY)
def config(request: pytest.FixtureRequest) -> AutoencoderKLConfig:
    return request.param


def build(config: AutoencoderKLConfig) -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(config)


def image(config: AutoencoderKLConfig, batch: int = 2) -> torch.Tensor:
    return (
        torch.rand(batch, 3, 3 * config.factor, 4 * config.factor, generator=torch.Generator().manual_seed(1)) * 2 - 1
    )


@torch.no_grad()
def test_one_latent_cell_stands_for_factor_by_factor_pixels(config: AutoencoderKLConfig) -> None:
    net, x = build(config), image(config)
    z = net.encode(x).mode()
    assert z.shape == (2, config.latent_channels, 3, 4)
    assert net.decode(z).shape == x.shape


@torch.no_grad()
def test_a_batch_equals_its_singles(config: AutoencoderKLConfig) -> None:
    net, x = build(config).double(), image(config, 3).double()
    z = net.encode(x).mode()
    torch.testing.assert_close(torch.cat([net.encode(one[None]).mode() for one in x]), z)
    torch.testing.assert_close(torch.cat([net.decode(one[None]) for one in z]), net.decode(z))


def test_every_parameter_gets_a_gradient(config: AutoencoderKLConfig) -> None:
    net = build(config)
    picture, posterior = net(image(config), torch.Generator().manual_seed(2))
    (picture.square().mean() + posterior.kl().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_every_linear_and_convolution_is_called_by_name(config: AutoencoderKLConfig) -> None:
    """An adapter may then stand in for any of them."""
    net, called = build(config), set()
    leaves = {name: m for name, m in net.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    for name, module in leaves.items():
        module.register_forward_hook(lambda m, i, o, name=name: called.add(name))
    net(image(config))
    assert called == set(leaves)


@torch.no_grad()
def test_built_on_meta_and_assigned_equals_built_directly(config: AutoencoderKLConfig) -> None:
    net, x = build(config), image(config)
    with torch.device("meta"):
        other = AutoencoderKL(config)
    other.load_state_dict(net.state_dict(), strict=True, assign=True)
    z = net.encode(x).mode()
    assert torch.equal(other.encode(x).mode(), z)
    assert torch.equal(other.decode(z), net.decode(z))


@torch.no_grad()
def test_channels_last_and_double_precision_change_only_the_rounding(config: AutoencoderKLConfig) -> None:
    net, x = build(config), image(config)
    z = net.encode(x).mode()
    y = net.decode(z)
    last = build(config).to(memory_format=torch.channels_last)
    torch.testing.assert_close(last.encode(x).mode(), z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last.decode(z), y, rtol=1e-4, atol=1e-5)
    double = build(config).double()
    torch.testing.assert_close(double.decode(double.encode(x.double()).mode()), y.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(33, 32), (32, 7)])
def test_a_picture_that_does_not_divide_is_refused_with_the_multiple(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="multiples of 4 pixels"):
        build(TINY["mini"]).encode(torch.zeros(1, 3, *size))


def posterior(cells: int) -> Posterior:
    draw = torch.Generator().manual_seed(3)
    shape = (2, 4, cells, cells)
    return Posterior(torch.randn(shape, generator=draw).double(), torch.randn(shape, generator=draw).double())


def test_the_kl_is_that_of_independent_gaussians_and_zero_only_at_the_prior() -> None:
    q = posterior(3)
    want = kl_divergence(Normal(q.mean, (0.5 * q.logvar).exp()), Normal(torch.tensor(0.0).double(), 1.0))
    torch.testing.assert_close(q.kl(), want.sum((1, 2, 3)))
    zero = torch.zeros(2, 4, 3, 3)
    assert torch.equal(Posterior(zero, zero).kl(), torch.zeros(2))


def test_samples_have_the_mean_and_the_variance_of_the_posterior() -> None:
    mean, logvar = torch.tensor([[[[1.5]]]]), torch.tensor([[[[-1.0]]]])
    many = Posterior(mean.expand(1, 1, 200, 200), logvar.expand(1, 1, 200, 200))
    z = many.sample(torch.Generator().manual_seed(0))
    assert abs(z.mean() - 1.5) < 4 * (-0.5 * torch.tensor(1.0)).exp() / 200
    torch.testing.assert_close(z.var(), torch.tensor(-1.0).exp(), rtol=0.04, atol=0)


def test_the_same_noise_gives_the_same_sample_and_no_noise_gives_the_mode() -> None:
    q = posterior(3)
    draws = [q.sample(torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.equal(q.sample(torch.zeros_like(q.mean)), q.mode())
