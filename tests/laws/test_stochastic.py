"""Mean and covariance of stochastic solvers, on a Gaussian whose every marginal is known, without sampling error."""

import pytest

from danqing.schedule import VE, VP, Flow
from danqing.solve import ancestral
from solver_orders import NOISY, consistency, gaussian_path, moments, weak_order

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", NOISY)
def test_mean_and_covariance_are_those_of_the_distribution(name: str):
    for schedule in (VP(), VE(), Flow()):
        mean, covariance = moments(NOISY[name].make(), gaussian_path(schedule, 200))
        assert mean.abs().max() < 0.02 and covariance.abs().max() < 0.04


@pytest.mark.parametrize("name", NOISY)
def test_order_of_convergence_of_the_covariance(name: str):
    assert weak_order(NOISY[name].make()) == pytest.approx(NOISY[name].full, abs=0.3)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_lcm_with_the_consistency_function_is_exact_in_any_number_of_steps(steps: int):
    points = gaussian_path(VP(), steps)
    mean, covariance = moments(ancestral.LCM(), points, lambda x, t: consistency(VP(), x, t))
    assert mean.abs().max() < 1e-12 and covariance.abs().max() < 1e-12
