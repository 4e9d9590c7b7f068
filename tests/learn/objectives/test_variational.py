"""Bounds on the evidence, where the evidence and the posterior are known."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal

from danqing.errors import InvalidInput
from danqing.learn.objectives.divergences import drawn, kl_gaussian
from danqing.learn.objectives.variational import elbo, importance_bound, log_weights

DOUBLE = torch.float64
LOAD = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, 1.1]], dtype=DOUBLE)  # x = W z + s noise, z ~ N(0, I)
STD = 0.6
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
PRIOR = MultivariateNormal(torch.zeros(2, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE))
EVIDENCE = MultivariateNormal(
    torch.zeros(3, dtype=DOUBLE), LOAD @ LOAD.T + STD**2 * torch.eye(3, dtype=DOUBLE)
).log_prob(X)
PRECISION = torch.eye(2, dtype=DOUBLE) + LOAD.T @ LOAD / STD**2
POSTERIOR = MultivariateNormal(
    X @ LOAD @ torch.linalg.inv(PRECISION) / STD**2, torch.linalg.inv(PRECISION)
)  # (4,) of them


def log_joint(z: Tensor) -> Tensor:
    spread = STD**2 * torch.eye(3, dtype=DOUBLE)
    return PRIOR.log_prob(z) + MultivariateNormal(z @ LOAD.T, spread).log_prob(X)


def wrong() -> MultivariateNormal:
    a = torch.tensor([[0.9, 0.0], [0.3, 0.5]], dtype=DOUBLE)
    return MultivariateNormal(POSTERIOR.mean + 0.3, a @ a.T)


def spread_points(q: MultivariateNormal) -> Tensor:
    """Draws whose mean and covariance are exactly q's: log w of Gaussians is quadratic, so its mean over them is
    exact."""
    eye = math.sqrt(2) * torch.eye(2, dtype=DOUBLE)
    return q.mean + (torch.cat([eye, -eye])[:, None] @ q.scale_tril.mT).squeeze(1)[:, None]


def test_the_bound_and_its_gap_are_the_evidence():
    q = wrong()
    bound = elbo(log_weights(log_joint, q, spread_points(q)))
    gap = kl_gaussian(q.mean, q.covariance_matrix, POSTERIOR.mean, POSTERIOR.covariance_matrix)
    assert (gap > 0.1).all()
    torch.testing.assert_close(bound + gap, EVIDENCE)


def test_with_the_true_posterior_every_single_draw_gives_the_evidence():
    weights = log_weights(log_joint, POSTERIOR, drawn(POSTERIOR, 5, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(weights, EVIDENCE.expand(5, 4))
    torch.testing.assert_close(importance_bound(weights, 5), EVIDENCE)


def test_the_bound_is_reconstruction_less_divergence_from_the_prior():
    q = wrong()
    z = spread_points(q)
    reconstruction = (log_joint(z) - PRIOR.log_prob(z)).mean(0)
    parted = reconstruction - kl_gaussian(q.mean, q.covariance_matrix, PRIOR.mean, PRIOR.covariance_matrix)
    torch.testing.assert_close(elbo(log_weights(log_joint, q, z)), parted)


def test_more_draws_make_the_bound_tighter_and_never_loose_the_evidence():
    """A latent of three values: the expectation over all tuples of draws is a finite sum."""
    joint = torch.tensor([0.02, 0.1, 0.05], dtype=DOUBLE).log()
    q = Categorical(torch.tensor([0.5, 0.2, 0.3], dtype=DOUBLE))
    bounds = []
    for k in (1, 2, 3, 4, 5):
        total = torch.zeros((), dtype=DOUBLE)
        for z in itertools.product(range(3), repeat=k):
            draws = torch.tensor(z)[:, None]
            total = (
                total
                + q.log_prob(draws).sum().exp() * importance_bound(log_weights(lambda z: joint[z], q, draws), k)[0]
            )
        bounds.append(total.item())
    evidence = joint.exp().sum().log().item()
    assert all(low < high < evidence for low, high in itertools.pairwise(bounds))


def test_one_draw_a_group_is_the_elbo_and_all_in_one_group_the_log_of_the_mean_weight():
    weights = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    torch.testing.assert_close(importance_bound(weights, 1), elbo(weights))
    torch.testing.assert_close(importance_bound(weights, 6), weights.exp().mean(0).log())
    torch.testing.assert_close(
        importance_bound(weights, 3), torch.stack([w.exp().mean(0).log() for w in weights.split(3)]).mean(0)
    )


def test_raising_the_bound_finds_the_posterior():
    """Of all Gaussians the posterior is best, so the gradient vanishes there; the draws carry it."""
    mean, root = POSTERIOR.mean.clone().requires_grad_(), POSTERIOR.scale_tril.clone().requires_grad_()
    q = MultivariateNormal(mean, scale_tril=root)
    elbo(log_weights(log_joint, q, spread_points(q))).sum().backward()
    torch.testing.assert_close(mean.grad, torch.zeros_like(mean), atol=1e-9, rtol=0)
    torch.testing.assert_close(root.grad.tril(), torch.zeros_like(root), atol=1e-9, rtol=0)


def test_groups_that_do_not_divide_the_draws_are_refused():
    with pytest.raises(InvalidInput, match="divide"):
        importance_bound(torch.zeros(5, 1), 2)
