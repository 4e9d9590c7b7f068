"""Laws of the evidence bound: bounds in order, and what beta does."""

import math

import torch
from torch import nn

from danqing.learn.objectives.elbo import EvidenceBound, log_weights
from danqing.learn.objectives.variational import elbo, importance_bound
from danqing.nets.autoencoder_kl import Posterior
from danqing.nets.vae import VAE, VAEConfig
from danqing.noise import keyed

TINY = VAEConfig(image_size=8, latent_dim=3, widths=(4, 4), norm_num_groups=2)


def build() -> VAE:
    torch.manual_seed(0)
    return VAE(TINY).double()


def pictures(batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, 8, 8), generator=keyed("pictures")).double() / 127.5 - 1


class Line(nn.Module):
    """A model whose evidence is known: x = z + noise in one number, p(z) = N(0, 1), p(x | z) = N(z, s^2), so p(x) =
    N(0, 1 + s^2); the posterior is N(x / (1 + s^2), s^2 / (1 + s^2)), widened by ``off``."""

    def __init__(self, off: float):
        super().__init__()
        self.s, self.off = 0.5, off

    def encode(self, x: torch.Tensor) -> Posterior:
        variance = self.s**2 / (1 + self.s**2)
        return Posterior(x.flatten(1) / (1 + self.s**2), torch.full_like(x.flatten(1), math.log(variance) + self.off))

    def log_prob(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(z, self.s).log_prob(x.flatten(1)).sum(1)

    def evidence(self, x: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(0.0, math.sqrt(1 + self.s**2)).log_prob(x.flatten(1)).sum(1)


def test_with_the_true_posterior_every_weight_is_the_evidence():
    x = torch.randn(3, 1, 1, 1, generator=keyed("x")).double()
    weights = log_weights(Line(0.0), x, 4, keyed("z"))
    torch.testing.assert_close(weights, Line(0.0).evidence(x).expand(4, -1))


def test_the_bound_is_below_that_of_more_draws_and_that_below_the_evidence():
    x, model = torch.randn(3, 1, 1, 1, generator=keyed("x")).double(), Line(0.8)
    weights = log_weights(model, x.repeat(5000, 1, 1, 1), 8, keyed("z"))  # (8, 15000)
    bounds = [importance_bound(weights, k).view(-1, 3).mean(0) for k in (1, 2, 8)]
    torch.testing.assert_close(bounds[0], elbo(weights).view(-1, 3).mean(0))
    for lower, higher in zip(bounds, [*bounds[1:], model.evidence(x)], strict=True):
        assert (lower < higher).all()


def test_the_mean_of_log_weights_is_the_objective():
    """Both are unbiased for the same number; the objective has the divergence in closed form."""
    x, model = torch.randn(4, 1, 1, 1, generator=keyed("x")).double(), Line(0.8)
    said = -EvidenceBound()(model, x.repeat(10_000, 1, 1, 1), keyed("z"))["bits"] * math.log(2)
    drawn = elbo(log_weights(model, x.repeat(10_000, 1, 1, 1), 1, keyed("w"))).mean()
    torch.testing.assert_close(said, drawn, rtol=0, atol=0.02)


@torch.no_grad()
def test_of_a_network_too_more_draws_bound_it_more_tightly():
    weights = log_weights(build(), pictures(), 64, keyed("z"))
    assert weights.shape == (64, 2)
    assert (elbo(weights) < importance_bound(weights, 4)).all() and (
        importance_bound(weights, 4) < importance_bound(weights, 64)
    ).all()


def test_the_loss_is_distortion_and_beta_times_the_rate_and_the_bits_have_beta_one():
    model, x = build(), pictures()
    for beta in (0.0, 1.0, 4.0):
        said = EvidenceBound(beta=beta)(model, x, keyed("z"))
        torch.testing.assert_close(said["loss"], said["distortion"] + beta * said["rate"])
        torch.testing.assert_close(said["bits"], said["distortion"] + said["rate"])
    torch.testing.assert_close(said["rate"], model.encode(x).kl().mean() / (192 * math.log(2)))


def test_with_beta_zero_it_is_an_autoencoder():
    """The prior has no say: the loss, and where the posterior is narrow the noise too, is that of the mean's own
    picture."""
    model, x = build(), pictures()
    with torch.no_grad():
        model.encoder.out.weight[3:] = 0  # the half that says the log variance
        model.encoder.out.bias[3:] = -30
    plain = -model.log_prob(x, model.encode(x).mean).mean() / (192 * math.log(2))
    for key in "ab":
        torch.testing.assert_close(EvidenceBound(beta=0)(model, x, keyed(key))["loss"], plain, rtol=1e-5, atol=1e-5)


def test_the_reconstruction_and_the_rate_pull_the_posterior_apart():
    """d rate / d logvar < 0 below the prior's variance, where the rate would widen it; the loss reaches every
    parameter."""
    model, x = build(), pictures()
    EvidenceBound(beta=2.0)(model, x, keyed("z"))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    mean, logvar = torch.zeros(1, 3), torch.full((1, 3), -1.0, requires_grad=True)
    Posterior(mean, logvar).kl().sum().backward()
    assert logvar.grad is not None and (logvar.grad < 0).all()
