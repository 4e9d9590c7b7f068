"""Predictor-corrector and the learned variance on a Gaussian whose every marginal is known, without sampling error."""

import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor

from danqing.denoise import FixedVariance, LearnedVariance
from danqing.errors import InvalidInput
from danqing.guide import compose
from danqing.noise import Draw, Noise
from danqing.schedule import VE, VP, Flow, Linear
from danqing.solve import ancestral, classic, core, corrector
from danqing.solve.corrector import langevin
from danqing.solve.learned import LearnedDDPM
from danqing.types import Conditioning, Denoised
from solver_orders import DOUBLE, MEAN, gaussian_path, marginal, posterior, root

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULES = [VP(), VE(), Flow()]
NONE = Conditioning(tokens=torch.zeros(1, 1, 1, dtype=DOUBLE))
DRAWS = 4  # a step, at most


@dataclass(frozen=True)
class Impulses:
    """In the place of noise, draw k of step i is 1 at two pixels of its own: each then shows one column of what that
    draw becomes."""

    def at(self, step: int) -> Draw:
        return lambda like, draw=0: self(like, 1 + DRAWS * step + draw)

    def __call__(self, like: Tensor, place: int = 0) -> Tensor:
        impulse = torch.zeros_like(like)
        impulse[:, 0, 0, 2 * place] = impulse[:, 1, 0, 2 * place + 1] = 1
        return impulse


def moments(solver: core.Solver, points, denoise) -> tuple[Tensor, Tensor]:
    """Mean and covariance at the last point, started from the exact marginal at the first."""
    p = points[0]
    pixels = torch.zeros(1, 2, 1, 2 * DRAWS * len(points) + 3, dtype=DOUBLE)  # the last one takes no impulse: the mean
    x = p.alpha * MEAN + torch.einsum("cd,bdhw->bchw", root(marginal(p.alpha, p.sigma)), Impulses()(pixels))
    for state in core.sample(denoise, solver, points, x, Impulses()):
        x = state.x
    mean, columns = x[0, :, 0, -1], x[0, :, 0, :-1] - x[0, :, 0, -1:]
    return mean, columns @ columns.T


def errors(solver: core.Solver, schedule, steps: int) -> tuple[Tensor, float]:
    points = gaussian_path(schedule, steps)
    mean, covariance = moments(solver, points, partial(posterior, schedule))
    q = points[-1]
    return mean - q.alpha * MEAN.flatten(), (covariance - marginal(q.alpha, q.sigma)).abs().max().item() / q.alpha**2


@pytest.mark.parametrize("predictor", [ancestral.DDPM(), ancestral.DDIM(), classic.Heun()], ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_mean_and_covariance_are_those_of_the_distribution(predictor: core.Solver, schedule):
    mean, covariance = errors(corrector.PredictorCorrector(predictor=predictor), schedule, 120)
    assert mean.abs().max() < 0.02 and covariance < 0.04


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_corrections_lessen_the_predictors_error(schedule):
    each = [errors(corrector.PredictorCorrector(corrections=n, snr=0.3), schedule, 20)[1] for n in (0, 1, 2)]
    assert each[2] < each[1] < each[0]
    assert each[0] == pytest.approx(errors(ancestral.DDPM(), schedule, 20)[1], rel=1e-9)


def after_correction(schedule, snr: float, times: int, excess: float = 0.0) -> float:
    """How far the covariance of x_q is from its own after corrections, started ``excess`` off, relative to it."""
    q = gaussian_path(schedule, 4)[2]
    truth = marginal(q.alpha, q.sigma)
    solver = corrector.PredictorCorrector(predictor=Stay(), corrections=1, snr=snr)
    steps = [replace(q, sigma=q.sigma) for _ in range(times + 1)]
    pixels = torch.zeros(1, 2, 1, 2 * DRAWS * len(steps) + 3, dtype=DOUBLE)
    x = q.alpha * MEAN + math.sqrt(1 + excess) * torch.einsum("cd,bdhw->bchw", root(truth), Impulses()(pixels))
    for state in core.sample(partial(posterior, schedule), solver, steps, x, Impulses()):
        x = state.x
    columns = x[0, :, 0, :-1] - x[0, :, 0, -1:]
    torch.testing.assert_close(x[0, :, 0, -1], q.alpha * MEAN.flatten())  # the mean stays, exactly
    return ((columns @ columns.T - truth).abs().max() / truth.abs().max()).item()


@dataclass(frozen=True)
class Stay:
    """A predictor that predicts nothing."""

    memory: int = 0

    def step(self, denoise, x, p, q, past, noise):
        return x, core.Estimate(p, x, Denoised(x))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_corrector_leaves_the_marginal_as_it_is_to_second_order_in_its_length(schedule):
    wide, narrow = (after_correction(schedule, snr, 1) for snr in (0.2, 0.1))
    assert wide < 0.01
    assert math.log2(wide / narrow) == pytest.approx(4, abs=0.01)  # the length is 2 snr^2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_corrector_draws_a_wrong_distribution_to_the_right_one(schedule):
    off = [after_correction(schedule, 0.16, n, excess=0.5) for n in (1, 20, 300)]
    assert off[0] > 0.4 and off[1] < 0.8 * off[0] and off[2] < 0.03


@pytest.mark.parametrize("snr", [0.05, 0.16, 0.5, 0.7])
def test_for_a_single_picture_the_corrector_is_exact_at_any_length(snr: float):
    """x_q = alpha x_0 + sigma eps stays so: eps' = c eps + sqrt(1 - c^2) z is of variance 1 again."""
    q = gaussian_path(Flow(), 4)[1]
    x0, eps, z = torch.randn(3, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    found = langevin(lambda x, t: Denoised(x0), q.alpha * x0 + q.sigma * eps, q, snr, z)
    kept = 1 - 2 * snr**2
    torch.testing.assert_close((found - q.alpha * x0) / q.sigma, kept * eps + math.sqrt(1 - kept**2) * z)


def test_a_short_correction_is_langevins_step():
    q = gaussian_path(VP(), 4)[2]
    x, z = torch.randn(2, 1, 2, 1, 5, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    length = 2 * (1e-3 * q.sigma) ** 2
    off = (x - q.alpha * MEAN)[0, :, 0]
    score = -(torch.linalg.inv(marginal(q.alpha, q.sigma)) @ off)[None, :, None]
    found = langevin(partial(posterior, VP()), x, q, 1e-3, z) - x
    torch.testing.assert_close(found, length * score + math.sqrt(2 * length) * z, rtol=1e-5, atol=1e-9)


def test_options_out_of_range_and_a_predictor_with_memory_are_refused():
    for wrong in ({"snr": 0.8}, {"corrections": -1}, {"predictor": classic.LMS()}):
        with pytest.raises(InvalidInput):
            corrector.PredictorCorrector(**wrong)


# The learned variance -------------------------------------------------------------------------------------------------


def walk(solver: core.Solver, denoise, channels: int = 2) -> Tensor:
    points = gaussian_path(VP(), 6)
    x = torch.randn(1, channels, 2, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    return torch.stack([s.x for s in core.sample(denoise, solver, points, x, Noise.of(0, [0]))])


def with_v(v: float):
    return lambda x, t: posterior(VP(), x, t)._replace(variance=torch.full_like(x, v))


def test_with_the_lower_variance_it_is_ddpm():
    torch.testing.assert_close(walk(LearnedDDPM(), with_v(0.0)), walk(ancestral.DDPM(), partial(posterior, VP())))


@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
def test_its_noise_is_geometrically_between_the_variances_of_the_two_posteriors(v: float):
    p, q = gaussian_path(VP(), 6)[2:4]
    x, z = torch.randn(2, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    mean, _ = LearnedDDPM().step(with_v(v), x, p, q, (), core.silence)
    moved, _ = LearnedDDPM().step(with_v(v), x, p, q, (), lambda like, draw: z)
    beta = p.sigma**2 - (p.alpha / q.alpha) ** 2 * q.sigma**2
    small = beta * q.sigma**2 / p.sigma**2
    torch.testing.assert_close((moved - mean) / z, torch.full_like(x, math.sqrt(beta**v * small ** (1 - v))))


def test_the_best_variance_of_a_gaussian_makes_a_step_exact():
    """For data N(m, s^2) the step back is a Gaussian whose variance lies between the bounds; with that v the marginals
    are exact."""
    s2, points = 0.6, gaussian_path(VP(), 5)
    schedule = points[0].schedule

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        p = next(p for p in points if p.t == float(t[0]))
        q = points[points.index(p) + 1]
        a, beta = p.alpha / q.alpha, p.sigma**2 - (p.alpha / q.alpha * q.sigma) ** 2
        before, after = q.alpha**2 * s2 + q.sigma**2, p.alpha**2 * s2 + p.sigma**2
        true = before - (a * before) ** 2 / after  # Var(x_q | x_p)
        small = beta * q.sigma**2 / p.sigma**2
        v = math.log(true / small) / math.log(beta / small)
        assert 0 < v < 1
        alpha, sigma = (float(c[0]) for c in schedule(t[:1]))
        return Denoised(alpha * s2 / (alpha**2 * s2 + sigma**2) * x, variance=torch.full_like(x, v))

    x = math.sqrt(points[0].alpha ** 2 * s2 + points[0].sigma ** 2) * Impulses()(
        torch.zeros(1, 2, 1, 100, dtype=DOUBLE)
    )
    for state in core.sample(denoise, LearnedDDPM(), points, x, Impulses()):
        x = state.x
    variance = points[-1].alpha ** 2 * s2 + points[-1].sigma ** 2
    torch.testing.assert_close(x[0, :, 0] @ x[0, :, 0].T, variance * torch.eye(2, dtype=DOUBLE))


class Six(torch.nn.Module):
    """A network of twice its channels."""

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, **_) -> Tensor:
        scale = 0.1 * tokens.mean((1, 2)).view(-1, 1, 1, 1)
        return torch.cat([(0.3 + scale) * x, torch.full_like(x, 0.5) + scale], 1)


def test_a_denoiser_of_a_learned_variance_is_a_denoiser_for_every_other_solver():
    learned = LearnedVariance(Six(), Linear(), "eps")
    x, t = (
        torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE),
        torch.tensor([0.2, 0.7], dtype=DOUBLE),
    )
    found = learned(x, t, NONE)
    assert torch.equal(learned.predict(x, t, NONE), learned.parts(x, t, NONE)[0])
    torch.testing.assert_close(found.variance, torch.full_like(x, 0.75))  # (u + 1) / 2
    fixed = FixedVariance(torch.nn.Identity(), Linear(), "eps", v=0.25)
    fixed.net.forward = lambda x, time, tokens, **_: 0.3 * x
    assert torch.equal(fixed(x, t, NONE).x0, found.x0) and (fixed(x, t, NONE).variance == 0.25).all()


def test_guidance_leads_the_estimate_alone_and_the_variance_is_that_of_the_last_term():
    learned = LearnedVariance(Six(), Linear(), "eps")
    words = NONE.map(lambda v: v + 1)
    x, t = (
        torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE),
        torch.tensor([0.5], dtype=DOUBLE),
    )
    told, none = learned(x, t, words), learned(x, t, NONE)
    guided = compose(learned, [(words.map(torch.exp), 0.5), (words, 3.0)], NONE)(x, t)
    assert torch.equal(guided.variance, told.variance) and torch.equal(guided.base, none.x0)
    assert torch.equal(compose(learned, [], words)(x, t).variance, told.variance)
    LearnedDDPM().step(compose(learned, [(words, 3.0)], NONE), x, *gaussian_path(Linear(), 2)[:2], (), core.silence)


def test_a_denoiser_that_says_no_variance_is_refused():
    with pytest.raises(InvalidInput, match="LearnedVariance"):
        walk(LearnedDDPM(), lambda x, t: Denoised(x))
    thin = LearnedVariance(torch.nn.Identity(), Linear(), "eps")
    thin.net.forward = lambda x, time, tokens, **_: x
    with pytest.raises(InvalidInput, match="channels"):
        thin(torch.ones(1, 3, 2, 2), torch.ones(1), NONE)
