"""The likelihood by the probability flow is the density of distributions whose density is known."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch import distributions as D

from danqing.errors import InvalidInput
from danqing.learn.measures.likelihood import BIN, bits_per_dim, dequantise, log_likelihood
from danqing.learn.objectives.scores import rademacher
from danqing.schedule import EDM, VE, VP, Cosine, Flow, Linear, exponential
from danqing.types import Denoised

DOUBLE = torch.float64
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE)
MEANS = torch.tensor([[-1.0, 0.5], [1.0, 0.3], [0.2, -1.2]], dtype=DOUBLE)
STDS = torch.tensor([0.4, 0.6, 0.5], dtype=DOUBLE)


def density(kappa: float) -> D.Distribution:
    """The mixture with noise of deviation kappa on it."""
    stds = (STDS.square() + kappa**2).sqrt()[:, None].expand(3, 2)
    return D.MixtureSameFamily(D.Categorical(WEIGHTS), D.Independent(D.Normal(MEANS, stds), 1))


def denoise(schedule):
    """E[x_0 | x_t] = sum over k of P(k | x_t) (m_k + alpha s_k^2 / v_k (x_t - alpha m_k)), v_k = alpha^2 s_k^2 +
    sigma^2."""

    def clean(x: Tensor, t: Tensor) -> Denoised:
        alpha, sigma = (c.view(-1, 1, 1) for c in schedule(t.to(DOUBLE)))
        spread = (alpha * STDS[:, None]).square() + sigma.square()  # (B, 3, 1)
        off = x[:, None] - alpha * MEANS  # (B, 3, 2)
        share = torch.softmax(
            WEIGHTS.log()[:, None] - off.square().sum(2, keepdim=True) / (2 * spread) - spread.log(), 1
        )
        return Denoised((share * (MEANS + alpha * STDS[:, None].square() / spread * off)).sum(1))

    return clean


SCHEDULES = [VP(), VE(), Flow(), Flow(shift=3.0), EDM(), Linear(), Cosine()]
X = torch.tensor([[-1.0, 0.4], [0.3, 0.3], [2.0, -1.0], [-0.5, -0.5]], dtype=DOUBLE)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_likelihood_is_the_density_of_a_mixture_under_every_schedule(schedule):
    alpha, sigma = schedule(exponential(schedule, 2)[:2])
    top, bottom = (sigma / alpha).tolist()
    found, truth = log_likelihood(denoise(schedule), schedule, X, steps=80), density(bottom).log_prob(X)
    torch.testing.assert_close(
        found.log_p, truth, rtol=0, atol=0.6 / top + 1e-3
    )  # the far end is only about N(0, kappa^2)
    assumed = D.Normal(0.0, top).log_prob(top * found.noise).sum(1)
    exact = found.log_p - assumed + density(top).log_prob(top * found.noise)
    torch.testing.assert_close(exact, truth, rtol=0, atol=1e-3)


def test_halving_the_steps_size_divides_the_error_by_sixteen():
    ends = [log_likelihood(denoise(VP()), VP(), X, steps=steps).log_p for steps in (20, 40, 80, 160)]
    errors = [(end - ends[-1]).abs().max() for end in ends[:3]]
    assert math.log2(errors[0] / errors[1]) > 3.5 and math.log2(errors[1] / errors[2]) > 3.5


def test_hutchinsons_estimate_is_unbiased_and_exact_when_averaged_over_all_probes():
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=DOUBLE)[:, None].expand(4, len(X), 2)
    exact = log_likelihood(denoise(VP()), VP(), X, steps=20)
    torch.testing.assert_close(log_likelihood(denoise(VP()), VP(), X, steps=20, probes=signs).log_p, exact.log_p)
    singles = torch.stack([log_likelihood(denoise(VP()), VP(), X, steps=20, probes=one[None]).log_p for one in signs])
    torch.testing.assert_close(singles.mean(0), exact.log_p)
    probes = rademacher(3, torch.Generator().manual_seed(0), X)
    assert torch.equal(log_likelihood(denoise(VP()), VP(), X, steps=20, probes=probes).noise, exact.noise)


def test_pictures_of_a_standard_normal_are_their_own_noise():
    """Where data are N(0, I) under VP, E[x_0 | x_t] = alpha x_t, and the flow of x_t stands still."""
    x = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)

    def standard(x: Tensor, t: Tensor) -> Denoised:
        return Denoised(VP()(t)[0].view(-1, 1, 1, 1).to(x) * x)

    found = log_likelihood(standard, VP(), x)
    torch.testing.assert_close(found.noise, x, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.log_p, D.Normal(0.0, 1.0).log_prob(x).flatten(1).sum(1), rtol=1e-3, atol=1e-3)


def test_a_model_keeps_no_gradient_and_its_precision():
    weight = torch.tensor(0.5, requires_grad=True)
    found = log_likelihood(lambda x, t: Denoised(weight * x), Flow(), torch.ones(2, 3), steps=2)
    assert found.log_p.dtype == torch.float32 and not found.log_p.requires_grad and weight.grad is None


def test_dequantised_bytes_stay_in_their_bins_and_fill_them_evenly():
    byte = torch.arange(256, dtype=DOUBLE).repeat(400)
    picture = byte / 127.5 - 1
    spread = dequantise(picture, torch.Generator().manual_seed(0))
    assert torch.equal(((spread + 1) * 127.5).round(), byte)
    inside = (spread - picture) / BIN  # uniform on [-1/2, 1/2): mean 0, variance 1/12
    assert inside.abs().max() <= 0.5 and inside.mean().abs() < 0.005
    assert inside.square().mean() == pytest.approx(1 / 12, rel=0.01)


def test_bits_of_dequantised_bytes_bound_those_of_the_bytes():
    """-E log2 p(x + u BIN) - log2 BIN >= -log2 of the integral of p over the bin, and equal where p is flat there."""
    p = D.Normal(torch.tensor(0.1, dtype=DOUBLE), 0.02)
    for centre in (0.06, 0.1, 0.13):
        low, high = centre - BIN / 2, centre + BIN / 2
        bytes_bits = -math.log2(float(p.cdf(torch.tensor(high, dtype=DOUBLE)) - p.cdf(torch.tensor(low, dtype=DOUBLE))))
        spread = quad(lambda x: float(bits_per_dim(p.log_prob(torch.tensor(x, dtype=DOUBLE)), 1)) / BIN, low, high)[0]
        assert bytes_bits < spread < bytes_bits + 0.05
    flat = D.Uniform(-1 - BIN / 2, 1 + BIN / 2).log_prob(torch.zeros(2, 12)).sum(1)
    torch.testing.assert_close(bits_per_dim(flat, 12), torch.full((2,), 8.0))  # every byte equally likely: 8 bits


def test_probes_of_another_shape_are_refused():
    for wrong in ({"probes": torch.ones(2, 2)}, {"steps": 0}):
        with pytest.raises(InvalidInput):
            log_likelihood(denoise(VP()), VP(), X, **wrong)
