"""Score matching on Gaussians and linear scores, where a few sigma points give every expectation of a quadratic
exactly."""

import math

import pytest
import torch
from torch import Tensor, nn

from danqing.denoise import PARAMETRISATIONS, Denoiser
from danqing.learn.objectives import scores
from danqing.schedule import VE, VP, Flow
from danqing.types import Conditioning

DOUBLE = torch.float64
MEAN = torch.tensor([0.7, -0.4, 0.2], dtype=DOUBLE)
SQUARE = torch.tensor([[0.9, 0.0, 0.0], [0.4, 0.7, 0.0], [-0.2, 0.3, 0.5]], dtype=DOUBLE)
COVARIANCE = SQUARE @ SQUARE.T
NONE = Conditioning(tokens=torch.zeros(1, 1, 1, dtype=DOUBLE))


def points(d: int) -> Tensor:
    """±sqrt(d) e_i, (2 d, d): mean 0 and covariance 1, so that means over them of quadratics are those under N(0,
    1)."""
    eye = math.sqrt(d) * torch.eye(d, dtype=DOUBLE)
    return torch.cat([eye, -eye])


def gaussian() -> Tensor:
    return MEAN + points(3) @ SQUARE.T


class Linear(nn.Module):
    """s(x) = A x + b."""

    def __init__(self, a: Tensor, b: Tensor):
        super().__init__()
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a.T + self.b


def true(covariance: Tensor = COVARIANCE) -> Linear:
    inverse = torch.linalg.inv(covariance)
    return Linear(-inverse, inverse @ MEAN)


def others() -> list[Linear]:
    draw = torch.Generator().manual_seed(0)
    return [
        Linear(torch.randn(3, 3, generator=draw, dtype=DOUBLE), torch.randn(3, generator=draw, dtype=DOUBLE))
        for _ in range(4)
    ]


def explicit(score: Linear) -> Tensor:
    x = gaussian()
    return scores.explicit(score, x, true()(x).detach())


ALPHA, SIGMA = 0.8, 0.6
JOINT = points(6)  # of (the draw behind x_0, eps)
X0, EPS = MEAN + JOINT[:, :3] @ SQUARE.T, JOINT[:, 3:]
NOISY = ALPHA**2 * COVARIANCE + SIGMA**2 * torch.eye(3, dtype=DOUBLE)


def true_noisy() -> Linear:
    inverse = torch.linalg.inv(NOISY)
    return Linear(-inverse, ALPHA * inverse @ MEAN)


LOSSES = {
    "implicit": lambda s: scores.implicit(s, gaussian()),
    "sliced": lambda s: scores.sliced(s, gaussian(), scores.basis(gaussian()), reduced=False),
    "sliced, reduced": lambda s: scores.sliced(s, gaussian(), scores.basis(gaussian()), reduced=True),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_losses_without_a_truth_differ_from_the_one_with_it_by_half_the_fisher_information(loss):
    constant = 0.5 * torch.linalg.inv(COVARIANCE).trace()  # E |grad log p|^2 / 2
    for score in others():
        torch.testing.assert_close(explicit(score) - loss(score), constant)


def test_denoising_differs_from_the_distance_to_the_noisy_score_by_a_constant():
    x = ALPHA * X0 + SIGMA * EPS
    constant = (
        3 / (2 * SIGMA**2) - 0.5 * torch.linalg.inv(NOISY).trace()
    )  # E |eps/sigma|^2 / 2 - E |grad log p_t|^2 / 2
    for score in others():
        distance = scores.explicit(score, x, true_noisy()(x).detach())
        torch.testing.assert_close(scores.denoising(score, X0, EPS, ALPHA, SIGMA) - distance, constant)


CASES = {
    "explicit": (explicit, true),
    **{name: (loss, true) for name, loss in LOSSES.items()},
    "denoising": (lambda s: scores.denoising(s, X0, EPS, ALPHA, SIGMA), true_noisy),
}


@pytest.mark.parametrize(("loss", "truth"), CASES.values(), ids=CASES)
def test_the_true_score_is_the_minimiser(loss, truth):
    best = truth()
    loss(best).backward()
    torch.testing.assert_close(best.a.grad, torch.zeros_like(best.a), atol=1e-9, rtol=0)
    torch.testing.assert_close(best.b.grad, torch.zeros_like(best.b), atol=1e-9, rtol=0)
    with torch.no_grad():
        bottom = loss(best)
        for off in others():
            for step in (1e-3, 0.1):  # the losses are quadratic in (A, b), so every direction from the minimum goes up
                assert loss(Linear(best.a + step * off.a, best.b + step * off.b)) > bottom


def test_the_exact_divergence_is_the_trace_of_the_jacobian():
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 6)).double()
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)

    def field(x: Tensor) -> Tensor:
        return net(x.flatten(1)).view_as(x)

    value, bent = scores.curvatures(field, x, scores.basis(x))
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda r: field(r[None])[0], row).view(6, 6) for row in x]
    )
    torch.testing.assert_close(value, field(x).detach())
    torch.testing.assert_close(bent.mean(0), jacobians.diagonal(dim1=1, dim2=2).sum(1))


def test_hutchinsons_estimate_of_the_divergence_is_unbiased():
    a, x = torch.tensor([[1.0, 2.0], [-3.0, 0.5]], dtype=DOUBLE), torch.zeros(1, 2, dtype=DOUBLE)
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=DOUBLE)[:, None]  # every Rademacher probe there is
    bent = scores.curvatures(lambda x: x @ a.T, x, signs)[1]
    torch.testing.assert_close(bent.mean(), a.trace())
    probes = scores.rademacher(500, torch.Generator().manual_seed(0), x)
    assert probes.abs().eq(1).all() and probes.mean(0).abs().max() < 0.2


def test_a_constant_field_has_no_divergence():
    x = torch.ones(3, 2, dtype=DOUBLE)
    assert (scores.curvatures(lambda x: torch.full_like(x, 5.0), x, scores.basis(x))[1] == 0).all()


class Posterior(nn.Module):
    """A network that knows the Gaussian's E[x_0 | x_t] and answers in a parametrisation; x (B, 3, 1, 1)."""

    def __init__(self, schedule, kind: str):
        super().__init__()
        self.schedule, self.kind = schedule, PARAMETRISATIONS[kind]
        self.shift = nn.Parameter(torch.zeros((), dtype=DOUBLE))
        self.t = torch.zeros(1)

    def clean(self, x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule(t[:1])
        spread = alpha**2 * COVARIANCE + sigma**2 * torch.eye(3, dtype=DOUBLE)
        return MEAN + (x - alpha * MEAN) @ (alpha * COVARIANCE @ torch.linalg.inv(spread)).T

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, **_) -> Tensor:
        alpha, sigma = self.schedule(self.t[:1])
        x0 = self.clean(x[:, :, 0, 0], self.t)[:, :, None, None]
        return self.kind.a(alpha, sigma) * x0 + self.kind.b(alpha, sigma) * (x - alpha * x0) / sigma + self.shift


@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()], ids=str)
@pytest.mark.parametrize("kind", ["eps", "x0", "v", "score"])
def test_a_denoisers_score_is_that_of_the_noisy_distribution_in_any_parametrisation(schedule, kind: str):
    if kind in ("eps", "score") and isinstance(schedule, Flow):
        schedule = VP(beta_max=12.0)
    net = Posterior(schedule, kind)
    net.t = t = torch.full((6,), 0.4, dtype=DOUBLE)
    alpha, sigma = schedule(t[:1])
    x = torch.randn(6, 3, 1, 1, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    model = Denoiser(net, schedule, kind)
    found = scores.score_of(lambda x, t: model(x, t, NONE), schedule, x, t)[:, :, 0, 0]
    inverse = torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(3, dtype=DOUBLE))
    torch.testing.assert_close(found, -(x[:, :, 0, 0] - alpha * MEAN) @ inverse, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "score"])
def test_the_weighted_objective_is_the_error_of_the_noise_whatever_the_parametrisation(kind: str):
    losses = []
    for one in ("eps", kind):
        net = Posterior(VP(), one)
        net.t = torch.full((8,), 0.3, dtype=DOUBLE)
        model, draw = Denoiser(net, VP(), one), torch.Generator().manual_seed(0)
        objective = scores.ScoreMatching(times=lambda count, noise: torch.full((count,), 0.3, dtype=DOUBLE))
        losses.append(objective(model, (X0[:8, :, None, None], NONE), draw)["loss"])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    losses[1].backward()
    assert net.shift.grad is not None and net.shift.grad.abs() > 0
