"""Divergences against closed forms, numerical integration and torch.distributions."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch import distributions as D

from danqing.errors import InvalidInput
from danqing.learn.objectives import divergences as dv

DOUBLE = torch.float64


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def mixture(*parts: tuple[float, float, float]) -> D.Distribution:
    weights, means, stds = torch.tensor(parts, dtype=DOUBLE).T
    return D.MixtureSameFamily(D.Categorical(weights), D.Normal(means, stds))


P, Q = mixture((0.3, -1.0, 0.5), (0.7, 1.0, 0.8)), mixture((0.5, 0.0, 1.0), (0.5, 2.0, 0.6))


def integral(f, p: D.Distribution) -> float:
    """E_p f(x) by quadrature."""
    return quad(
        lambda x: float(p.log_prob(torch.tensor(x, dtype=DOUBLE)).exp() * f(torch.tensor(x, dtype=DOUBLE))),
        -12,
        12,
        limit=200,
    )[0]


def covariance(seed: int) -> torch.Tensor:
    a = draws(5, 3, 3, seed=seed)
    return a @ a.mT + 0.2 * torch.eye(3, dtype=DOUBLE)


def test_diagonal_kl_is_that_of_torch_and_zero_between_equals():
    m, n, a, b = draws(4, 7)
    theirs = D.kl_divergence(D.Normal(m, (a / 2).exp()), D.Normal(n, (b / 2).exp()))
    torch.testing.assert_close(dv.kl_diagonal(m, a, n, b), theirs)
    assert (dv.kl_diagonal(m, a, m, a) == 0).all()


def test_kl_of_full_covariances_is_that_of_torch_and_knows_no_basis():
    m, n, p, q = draws(5, 3), draws(5, 3, seed=1), covariance(2), covariance(3)
    theirs = D.kl_divergence(D.MultivariateNormal(m, p), D.MultivariateNormal(n, q))
    torch.testing.assert_close(dv.kl_gaussian(m, p, n, q), theirs)
    change = draws(3, 3, seed=4)  # KL is the same in any coordinates
    turned = dv.kl_gaussian(m @ change.T, change @ p @ change.T, n @ change.T, change @ q @ change.T)
    torch.testing.assert_close(turned, theirs)


def test_kl_of_full_covariances_is_the_diagonal_one_on_diagonals():
    m, n, a, b = draws(4, 5, 3)
    full = dv.kl_gaussian(m, torch.diag_embed(a.exp()), n, torch.diag_embed(b.exp()))
    torch.testing.assert_close(full, dv.kl_diagonal(m, a, n, b).sum(-1))


def test_a_covariance_that_is_none_is_refused():
    with pytest.raises(InvalidInput, match="positive"):
        dv.kl_gaussian(torch.zeros(2), torch.eye(2), torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("form", [dv.plain, dv.controlled])
def test_drawn_kl_has_the_integral_for_its_mean(form):
    expected = integral(lambda x: P.log_prob(x) - Q.log_prob(x), P)
    assert integral(lambda x: form(Q.log_prob(x) - P.log_prob(x)), P) == pytest.approx(expected, abs=1e-6)  # unbiased
    found = dv.kl_drawn(P, Q, 20_000, noise(), form)
    assert abs(found.mean - expected) < 4 * found.error


def test_the_controlled_form_is_never_negative_and_varies_less_between_near_distributions():
    p, q = D.Normal(torch.zeros((), dtype=DOUBLE), 1.0), D.Normal(torch.tensor(0.1, dtype=DOUBLE), 1.05)
    assert (dv.controlled(draws(1000)) >= 0).all()
    assert dv.kl_drawn(p, q, 4000, noise()).error < 0.2 * dv.kl_drawn(p, q, 4000, noise(), dv.plain).error


def test_drawn_kl_serves_any_distribution():
    cases = [
        (D.Gamma(2.0, 1.5), D.Exponential(1.0)),
        (D.Poisson(3.0), D.Poisson(4.0)),
        (D.Beta(2.0, 3.0), D.Beta(3.0, 3.0)),
    ]
    for p, q in cases:
        found = dv.kl_drawn(p, q, 20_000, noise(), dv.plain)
        assert abs(found.mean - D.kl_divergence(p, q)) < 4 * found.error


def test_the_standard_error_is_the_deviation_of_the_estimates():
    many = torch.stack([dv.kl_drawn(P, Q, 200, torch.Generator().manual_seed(i), dv.plain).mean for i in range(200)])
    error = dv.kl_drawn(P, Q, 20_000, noise(), dv.plain).error * math.sqrt(20_000 / 200)
    torch.testing.assert_close(many.std(), error, rtol=0.2, atol=0)


def test_draws_depend_on_their_generator_alone_and_leave_the_global_one_as_it_was():
    before = torch.random.get_rng_state()
    one = dv.drawn(D.Normal(0.0, 1.0), 3, noise())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(dv.drawn(D.Normal(0.0, 1.0), 3, noise()), one)


def test_draws_carry_the_gradient():
    mean = torch.zeros((), requires_grad=True)
    dv.drawn(D.Normal(mean, 1.0), 4, noise()).sum().backward()
    assert mean.grad == 4


def js_by_quadrature() -> float:
    def towards_middle(p: D.Distribution) -> float:
        return integral(lambda x: p.log_prob(x) - torch.logaddexp(P.log_prob(x), Q.log_prob(x)) + math.log(2), p)

    return (towards_middle(P) + towards_middle(Q)) / 2


def value_by_quadrature(logit) -> float:
    return integral(lambda x: torch.nn.functional.logsigmoid(logit(x)), P) + integral(
        lambda x: torch.nn.functional.logsigmoid(-logit(x)), Q
    )


def best(x: torch.Tensor) -> torch.Tensor:
    return dv.optimal_logit(P.log_prob(x), Q.log_prob(x))


def test_the_game_at_the_optimal_discriminator_is_twice_jensen_shannon_less_log_4():
    assert value_by_quadrature(best) == pytest.approx(2 * js_by_quadrature() - math.log(4), abs=1e-8)


def test_no_other_discriminator_reaches_the_value_of_the_optimal_one():
    top = value_by_quadrature(best)
    for other in (
        lambda x: best(x) + 0.1,
        lambda x: 0.9 * best(x),
        lambda x: best(x) + 0.3 * torch.sin(x),
        lambda x: 0 * x,
    ):
        assert value_by_quadrature(other) < top
    at = torch.linspace(-3, 3, 9, dtype=DOUBLE)
    p, q = P.log_prob(at).exp(), Q.log_prob(at).exp()
    torch.testing.assert_close(best(at).sigmoid(), p / (p + q))


def test_a_trained_discriminator_finds_the_optimal_one_on_finite_supports():
    p, q = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], dtype=DOUBLE)
    logit = torch.zeros(3, dtype=DOUBLE, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=100, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def lost() -> torch.Tensor:
        optimiser.zero_grad()
        value = -(p * torch.nn.functional.logsigmoid(logit) + q * torch.nn.functional.logsigmoid(-logit)).sum()
        value.backward()
        return value

    optimiser.step(lost)
    torch.testing.assert_close(logit.detach().sigmoid(), p / (p + q), atol=1e-5, rtol=0)


def test_jensen_shannon_by_drawing_is_the_integral_and_symmetric_and_bounded():
    one, other = dv.jensen_shannon(P, Q, 20_000, noise()), dv.jensen_shannon(Q, P, 20_000, noise())
    assert abs(one.mean - js_by_quadrature()) < 4 * one.error
    assert abs(other.mean - js_by_quadrature()) < 4 * other.error
    apart = dv.jensen_shannon(D.Normal(0.0, 1.0), D.Normal(100.0, 1.0), 100, noise())
    assert apart.mean == pytest.approx(math.log(2)) and dv.jensen_shannon(P, P, 100, noise()).mean == pytest.approx(
        0, abs=1e-12
    )


def test_the_game_of_logits_is_its_definition():
    real, fake = draws(2, 50)
    value = real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()
    torch.testing.assert_close(dv.game_value(real, fake), value)
    torch.testing.assert_close(dv.non_saturating(fake), -fake.sigmoid().log().mean())


def test_the_non_saturating_loss_pulls_the_same_way_and_where_the_other_does_not():
    logits = torch.linspace(-20, 3, 24, dtype=DOUBLE, requires_grad=True)
    (ours,) = torch.autograd.grad(dv.non_saturating(logits) * 24, logits)
    (saturating,) = torch.autograd.grad(dv.game_value(0 * logits.detach(), logits) * 24, logits)
    d = logits.detach().sigmoid()
    torch.testing.assert_close(ours, d - 1)
    torch.testing.assert_close(saturating, -d)
    assert saturating[0].abs() < 1e-8 and ours[0].abs() > 0.99


def test_one_draw_tells_no_error():
    with pytest.raises(InvalidInput, match="at least 2"):
        dv.kl_drawn(P, Q, 1, noise())
