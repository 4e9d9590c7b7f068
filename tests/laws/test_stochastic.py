"""Mean and covariance of stochastic solvers, on a Gaussian whose every marginal is known; each pixel is one sample."""

import math

import pytest
import torch
from torch import Tensor

from danqing import solve
from danqing.schedule import VP
from danqing.solve import Noise

DOUBLE = torch.float64
MEAN = torch.tensor([0.7, -0.4], dtype=DOUBLE)
COVARIANCE = torch.tensor([[0.5, 0.3], [0.3, 0.8]], dtype=DOUBLE)
EYE = torch.eye(2, dtype=DOUBLE)

STOCHASTIC = {
    "ddpm": solve.DDPM(),
    "ddim, eta 0.5": solve.DDIM(eta=0.5),
    "euler-a": solve.DDIM(eta=1.0),
    "dpmpp-2s-a": solve.Singlestep(eta=1.0),
    "dpmpp-sde": solve.SinglestepSDE(),
    "dpmpp-1m-sde": solve.Multistep(order=1, eta=1.0),
    "dpmpp-2m-sde": solve.Multistep(eta=1.0),
    "dpmpp-2m-sde, eta 0.5": solve.Multistep(eta=0.5),
    "dpmpp-3m-sde": solve.Multistep(order=3, eta=1.0),
    "dpmpp-3m-sde, published weights": solve.Multistep(order=3, eta=1.0, curvature=0.5),
}


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T


def linear(matrix: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("cd,bdhw->bchw", matrix, x)


def marginal(alpha: float, sigma: float) -> Tensor:
    return alpha**2 * COVARIANCE + sigma**2 * EYE


def denoise(x: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t] = m + alpha S (alpha^2 S + sigma^2 I)^-1 (x_t - alpha m)."""
    alpha, sigma = (c.item() for c in VP()(t[:1]))
    mean = MEAN[:, None, None]
    return mean + linear(alpha * COVARIANCE @ torch.linalg.inv(marginal(alpha, sigma)), x - alpha * mean)


def consistency(x: Tensor, t: Tensor) -> Tensor:
    """Where the probability flow from x_t ends: m + S^(1/2) (alpha^2 S + sigma^2 I)^(-1/2) (x_t - alpha m)."""
    alpha, sigma = (c.item() for c in VP()(t[:1]))
    mean = MEAN[:, None, None]
    return mean + linear(root(COVARIANCE) @ torch.linalg.inv(root(marginal(alpha, sigma))), x - alpha * mean)


def moments(solver: solve.Solver, steps: int, how=denoise) -> tuple[Tensor, Tensor]:
    """Errors of mean and covariance at clean, from 40,000 samples that start in the exact marginal."""
    lam = torch.linspace(-3, 4, steps, dtype=DOUBLE)
    points = solve.points(VP(), torch.cat([VP().time(2 * lam), torch.zeros(1, dtype=DOUBLE)]))
    p, z = points[0], Noise.of(0, [0], "start")(torch.zeros(1, 2, 200, 200, dtype=DOUBLE))
    x = p.alpha * MEAN[:, None, None] + linear(root(marginal(p.alpha, p.sigma)), z)
    for state in solve.sample(how, solver, points, x, Noise.of(0, [0])):
        x = state.x
    flat = x.permute(1, 0, 2, 3).flatten(1)
    return flat.mean(1) - MEAN, torch.cov(flat) - COVARIANCE


@pytest.mark.parametrize("name", STOCHASTIC)
def test_mean_and_covariance(name: str):
    mean, covariance = moments(STOCHASTIC[name], 150)
    assert mean.abs().max() < 0.02  # the standard error is 0.0045
    assert covariance.abs().max() < 0.03


def test_lcm_with_the_consistency_function_samples_exactly_in_any_number_of_steps():
    for steps in (1, 2, 4):
        mean, covariance = moments(solve.LCM(), steps, consistency)
        assert mean.abs().max() < 0.02 and covariance.abs().max() < 0.03


def error(solver: solve.Solver, steps: int) -> float:
    return moments(solver, steps)[1].abs().max().item()


def test_second_order_sdes_need_fewer_steps_than_first_order():
    first, second = error(solve.Multistep(order=1, eta=1.0), 25), error(solve.Multistep(eta=1.0), 25)
    assert second < first / 3 and math.isfinite(first)
