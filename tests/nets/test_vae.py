"""Laws of the variational autoencoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from danqing.errors import InvalidInput, UnknownName
from danqing.nets.vae import ART, VAE, VAEConfig, lerp, prior, slerp
from danqing.noise import keyed

TINY = VAEConfig(image_size=16, latent_dim=6, widths=(4, 8), norm_num_groups=2)
SHAPES = {
    "patch": TINY,
    "deep": replace(TINY, widths=(4, 4, 8), layers_per_block=2, patch=1, likelihood="gaussian"),
    "flat": replace(TINY, widths=(4,), image_size=4, patch=1, likelihood="logistic"),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def config(request: pytest.FixtureRequest) -> VAEConfig:
    return request.param


def build(config: VAEConfig) -> VAE:
    torch.manual_seed(0)
    return VAE(config)


def pictures(config: VAEConfig, batch: int = 2) -> torch.Tensor:
    side = config.image_size
    return torch.randint(0, 256, (batch, 3, side, side), generator=keyed("pictures")) / 127.5 - 1


@torch.no_grad()
def test_a_picture_becomes_a_vector_and_a_vector_a_picture(config: VAEConfig) -> None:
    net, x = build(config), pictures(config)
    posterior = net.encode(x)
    assert posterior.mean.shape == posterior.logvar.shape == (2, config.latent_dim)
    assert net.decode(posterior.mean).shape == x.shape


def test_the_model_for_art_is_within_its_budget() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in VAE(ART).parameters()) <= 3_000_000


@torch.no_grad()
def test_a_batch_equals_its_singles(config: VAEConfig) -> None:
    net, x = build(config).double(), pictures(config, 3).double()
    z = net.encode(x).mean
    torch.testing.assert_close(torch.cat([net.encode(one[None]).mean for one in x]), z)
    torch.testing.assert_close(
        torch.cat([net.log_prob(a[None], b[None]) for a, b in zip(x, z, strict=True)]), net.log_prob(x, z)
    )


def test_every_parameter_gets_a_gradient(config: VAEConfig) -> None:
    net, x = build(config), pictures(config)
    posterior = net.encode(x)
    (posterior.kl() - net.log_prob(x, posterior.sample(keyed("z")))).mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_the_rate_is_the_divergence_of_torch_distributions(config: VAEConfig) -> None:
    q = build(config).encode(pictures(config))
    ours, standard = (
        Normal(q.mean, (0.5 * q.logvar).exp()),
        Normal(torch.zeros(config.latent_dim), torch.ones(config.latent_dim)),
    )
    torch.testing.assert_close(q.kl(), kl_divergence(Independent(ours, 1), Independent(standard, 1)))


@torch.no_grad()
def test_without_noise_the_picture_is_that_of_the_mean_and_always_the_same(config: VAEConfig) -> None:
    net, x = build(config).eval(), pictures(config)
    first, posterior = net(x, torch.zeros(()))
    torch.manual_seed(7)
    assert torch.equal(net(x, torch.zeros(()))[0], first)
    torch.testing.assert_close(net.decode(posterior.mean), first)


@torch.no_grad()
def test_the_likelihood_is_largest_at_the_decoded_picture_and_at_the_scale_of_its_errors() -> None:
    """d/ds of -log s - |x - m| / s is 0 where s is the mean error: what makes beta needless."""
    net = build(TINY).double()
    z = prior([keyed("z")], TINY.latent_dim).double()
    x = (net.decode(z) * 127.5 + 127.5).round().clamp(1, 254) / 127.5 - 1
    noisy = (
        (x + 0.2 * torch.randn(x.shape, generator=keyed("n")).double()).clamp(-0.99, 0.99) * 127.5 + 127.5
    ).round() / 127.5 - 1
    net.log_scale.copy_((noisy - net.decode(z)).abs().mean().log())
    best = net.log_prob(noisy, z)
    for change in (-0.05, 0.05):
        net.log_scale.add_(change)
        assert net.log_prob(noisy, z) < best
        net.log_scale.sub_(change)
    assert net.log_prob(x, z) > best


@torch.no_grad()
def test_built_on_meta_and_assigned_equals_built_directly(config: VAEConfig) -> None:
    net, x = build(config), pictures(config)
    with torch.device("meta"):
        other = VAE(config)
    other.load_state_dict(net.state_dict(), strict=True, assign=True)
    z = net.encode(x).mean
    assert torch.equal(other.log_prob(x, z), net.log_prob(x, z)) and torch.equal(other.encode(x).mean, z)


def test_a_latent_of_the_prior_depends_on_its_own_generator_alone() -> None:
    many = prior([keyed("picture", i) for i in range(3)], 5)
    assert torch.equal(many, torch.cat([prior([keyed("picture", i)], 5) for i in range(3)]))
    assert len(torch.unique(many)) == many.numel()


@pytest.mark.parametrize("between", [lerp, slerp])
def test_an_interpolation_begins_and_ends_at_its_ends_and_runs_the_same_backwards(between) -> None:
    a, b = (torch.randn(4, 9, generator=keyed(name)).double() for name in "ab")
    t = torch.linspace(0, 1, 5)
    path = between(a, b, t)
    assert path.shape == (5, 4, 9)
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    torch.testing.assert_close(between(b, a, t), path.flip(0))


def test_on_the_arc_equal_times_are_equal_angles_and_a_line_to_itself_stands_still() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(4, 9, generator=keyed(name)).double(), dim=-1) for name in "ab")
    path = slerp(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(5, 4).double())
    cosines = (path[1:] * path[:-1]).sum(-1)
    torch.testing.assert_close(cosines, cosines[:1].expand(4, -1))
    torch.testing.assert_close(slerp(a, a, torch.tensor([0.3])), a[None])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="multiple of 4"):
        VAE(replace(TINY, image_size=18))
    with pytest.raises(UnknownName, match="'gaussian'"):
        VAE(replace(TINY, likelihood="gaussians"))
    with pytest.raises(InvalidInput, match="resize"):
        build(TINY).encode(torch.zeros(1, 3, 16, 20))
