"""Laws of the first StyleGAN."""

from __future__ import annotations

import torch

from danqing.nets.stylegan import StyleGAN, adain
from danqing.nets.stylegan2 import Mapping, StyleGAN2Config, mixed

TINY = StyleGAN2Config(resolution=16, z_dim=6, w_dim=8, mapping_layers=2, channel_base=128, channel_max=12)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network() -> StyleGAN:
    torch.manual_seed(0)
    return StyleGAN(TINY).eval()


def test_adain_gives_each_channel_the_mean_and_deviation_of_its_style():
    x, scale, shift = 3 * drawn(2, 4, 9, 9) + 5, drawn(2, 4, seed=1), drawn(2, 4, seed=2)
    y = adain(x, scale, shift)
    torch.testing.assert_close(y.mean((2, 3)), shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(y.std((2, 3), correction=0), scale.abs(), rtol=1e-4, atol=1e-5)


def test_adain_forgets_what_mean_and_deviation_came_in():
    x, one, zero = drawn(2, 4, 9, 9), torch.ones(2, 4), torch.zeros(2, 4)
    torch.testing.assert_close(adain(7 * x + 3, one, zero), adain(x, one, zero), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_batch_equals_its_singles():
    net, z = network().double(), drawn(3, 6).double()
    torch.testing.assert_close(torch.cat([net(one[None]) for one in z]), net(z))


@torch.no_grad()
def test_the_last_style_alone_makes_the_last_colours():
    """Adain forgets the statistics that came in, so the colours' mean is that of the last style, through the last
    layer."""
    net = network()
    ws, other = net.styles(drawn(1, 6)), net.styles(drawn(1, 6, seed=1))
    shift = net.layers[-1].affine(other[:, -1]).chunk(2, 1)[1]
    mean = torch.nn.functional.conv2d(shift[:, :, None, None], net.torgb.weight, net.torgb.bias)[..., 0, 0]
    torch.testing.assert_close(
        net.synthesis(mixed(ws, other, TINY.layers - 1)).mean((2, 3)), mean, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_truncation_is_a_line_from_the_mean_to_the_style():
    net, z = network(), drawn(2, 6)
    net.mapping.w_avg.copy_(drawn(8, seed=3))
    torch.testing.assert_close(net.styles(z, psi=0.3), 0.3 * net.styles(z) + 0.7 * net.mapping.w_avg)


def test_the_mapping_is_the_second_versions():
    assert type(network().mapping) is Mapping


def test_every_parameter_gets_a_gradient():
    net = network()
    net(drawn(4, 6), noise=lambda like, k: drawn(*like.shape, seed=k)).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
