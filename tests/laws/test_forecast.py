"""Laws of estimates that are not computed: exact where what is taken for granted holds, and neutral where all are."""

from collections.abc import Callable

import pytest
import torch
from tests.laws.test_estimates import DOUBLE, X, net, words
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.guide import compose
from danqing.guides.alternate import alternate
from danqing.guides.forecast import forecast
from danqing.noise import Noise
from danqing.schedule import VP, Flow
from danqing.solve import core
from danqing.solve.solvers import SOLVERS, solver
from danqing.types import Denoise, Denoised

pytestmark = pytest.mark.usefixtures("one_thread")


def points(steps: int = 8, power: float = 1.5) -> tuple[core.Point, ...]:
    """Of uneven steps."""
    return core.points(Flow(), 0.05 + 0.9 * torch.linspace(1, 0, steps + 1, dtype=DOUBLE) ** power)


def walk(denoise: Denoise, path: tuple[core.Point, ...], name: str = "ddim") -> Tensor:
    x = path[0].alpha * X + path[0].sigma * X.flip(0)
    return torch.stack([state.x for state in core.sample(denoise, solver(name), path, x, Noise.of(0, [0, 1]))])


def at(scale: float) -> Denoise:
    return compose(net, [(words(2.0), scale)], words(0.5))


class Asked:
    """A denoiser that keeps the times it was asked for."""

    def __init__(self, denoise: Callable[[Tensor, Tensor], Denoised]):
        self.denoise, self.times = denoise, list[float]()

    def __call__(self, x: Tensor, t: Tensor) -> Denoised:
        self.times.append(float(t[0]))
        return self.denoise(x, t)


# Forecasts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVERS)
def test_a_walk_whose_steps_are_all_computed_is_the_plain_one_bit_for_bit(name):
    path = points(2)
    assert torch.equal(walk(forecast(at(4.0), path, 2, 2), path, name), walk(at(4.0), path, name))


@pytest.mark.parametrize("order", range(4))
def test_a_polynomial_is_forecast_exactly_by_its_degree(order):
    path = points(12)
    rates = torch.randn(order + 1, *X.shape, generator=torch.Generator().manual_seed(order), dtype=DOUBLE)

    def polynomial(x: Tensor, t: Tensor) -> Denoised:
        return Denoised(sum(rate * t.view(-1, 1, 1, 1) ** i for i, rate in enumerate(rates)), variance=x)

    wrapped, lower = forecast(polynomial, path, 3, order), forecast(polynomial, path, 3, max(0, order - 1))
    for step, p in enumerate(path[:-1]):
        t = torch.full((2,), p.t, dtype=DOUBLE)
        found, missed = wrapped(X, t), lower(X, t)
        if step >= 3 * order:  # from where so many are computed
            torch.testing.assert_close(found.x0, polynomial(X, t).x0, rtol=0, atol=1e-11)
            assert not order or step % 3 == 0 or step == 11 or (missed.x0 - found.x0).abs().max() > 1e-3


@pytest.mark.parametrize("order", [0, 1])
def test_what_is_forecast_misses_a_smooth_estimate_by_the_order_and_one_of_the_steps(order):
    """So a solver of order k keeps it from the forecast of order k - 1."""

    def missed(steps: int) -> float:
        path = points(steps, 1.0)
        spared = forecast(at(2.0), path, 2, order)
        return float((walk(spared, path) - walk(at(2.0), path))[-1].abs().max())

    assert missed(320) < missed(80) * 0.25 ** (order + 0.6)


def test_it_computes_the_first_step_the_last_and_every_so_manieth():
    path = points(12)
    asked = Asked(at(4.0))
    walk(forecast(asked, path, 3, 1), path)
    assert [core.step_of(path, t) for t in asked.times] == [0, 3, 6, 9, 11]


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_asks_less_and_one_that_draws_no_noise_goes_its_way(name):
    path = points(24)
    plain, spared = Asked(at(2.0)), Asked(at(2.0))
    full, near = walk(plain, path, name), walk(forecast(spared, path, 2, 1), path, name)
    assert len(spared.times) <= 0.6 * len(plain.times)
    assert SOLVERS[name].noisy or (near - full)[-1].abs().max() < 0.1 * full[-1].abs().max()


def test_a_forecast_holds_what_guidance_composed_and_the_latest_variance():
    def known(x: Tensor, t: Tensor) -> Denoised:
        at = t.view(-1, 1, 1, 1) + 0 * x
        return Denoised(at, 2 * at, 3 * at, 4 * at)

    path = points(6)
    wrapped = forecast(known, path, 2, 1)
    found = [wrapped(X, torch.full((2,), p.t, dtype=DOUBLE)) for p in path[:4]]
    for part, times in zip(found[3][:3], (1, 2, 3), strict=True):
        torch.testing.assert_close(part, times * path[3].t + 0 * X)
    assert torch.equal(found[3].variance, found[2].variance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_forecast_keeps_the_precision(dtype):
    path = points(6)
    for wrap in (lambda d: forecast(d, path, 2, 1), lambda d: alternate(d, d, points(), 2)):
        wrapped = wrap(lambda x, t: Denoised(x, x, x))
        assert {wrapped(X.to(dtype), torch.full((2,), p.t)).x0.dtype for p in path} == {dtype}


def test_a_second_walk_begins_anew():
    path = points()
    for wrap in (lambda d: forecast(d, path, 3, 2), lambda d: alternate(d, at(1.0), points(), 3)):
        wrapped = wrap(at(4.0))
        assert torch.equal(walk(wrapped, path), walk(wrapped, path))


# The base -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [Flow(), VP()], ids=str)
def test_guidance_whose_difference_in_velocity_stays_is_exact_with_a_base_now_and_then(schedule):
    def steady(x, t, cond):
        alpha, sigma = (level.view(-1, 1, 1, 1) for level in schedule(t))
        return Denoised(torch.tanh(x) + cond.tokens.mean((1, 2)).view(-1, 1, 1, 1) * sigma / (alpha + sigma))

    def guided(scale: float) -> Denoise:
        return compose(steady, [(words(2.0), scale)], words(0.5))

    wrapped = alternate(guided(4.0), guided(1.0), core.points(schedule, torch.tensor([0.9, 0.1])), 3)
    for p in points():
        found, full = (of(X, torch.full((2,), p.t, dtype=DOUBLE)) for of in (wrapped, guided(4.0)))
        torch.testing.assert_close(found, full)


def test_the_base_is_computed_above_the_time_and_every_so_manieth_time_below():
    path = points(12)
    guided, plain = Asked(at(4.0)), Asked(at(1.0))
    walk(alternate(guided, plain, path, 3, below=path[3].t), path)
    assert [core.step_of(path, t) for t in guided.times] == [0, 1, 2, 3, 6, 9]
    assert [core.step_of(path, t) for t in plain.times] == [4, 5, 7, 8, 10, 11]


def test_where_there_is_no_base_or_nothing_to_lead_towards_all_is_computed():
    for scale in (1.0, -2.0):
        plain = Asked(at(1.0))
        path = points()
        assert (
            torch.equal(walk(alternate(at(scale), plain, points(), 3), path), walk(at(scale), path)) and not plain.times
        )


def test_neutral_values_are_the_estimate_itself():
    guided = at(4.0)
    assert forecast(guided, points(), 1, 3) is guided and alternate(guided, at(1.0), points(), 1) is guided


def test_numbers_out_of_range_are_refused():
    for numbers in ((0, 1), (2, -1)):
        with pytest.raises(InvalidInput, match="forecast"):
            forecast(at(4.0), points(), *numbers)
    for every, below in ((0, 1.0), (2, 1.5)):
        with pytest.raises(InvalidInput, match="base"):
            alternate(at(4.0), at(1.0), points(), every, below)
