"""Laws of densities made into probabilities of bytes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Laplace, Normal

from danqing.errors import UnknownName
from danqing.nets.discretised import LOG_CDF, log_prob

KINDS = sorted(LOG_CDF)


def grid(levels: int) -> torch.Tensor:
    return torch.linspace(-1, 1, levels, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [2, 5, 256])
def test_the_probabilities_of_all_levels_add_up_to_one(kind: str, levels: int) -> None:
    mean, log_scale = torch.tensor([[-3.0], [0.1], [1.2]]).double(), torch.tensor([[-6.0], [-1.0], [2.0]]).double()
    total = log_prob(grid(levels), mean, log_scale, kind, levels).logsumexp(-1)
    torch.testing.assert_close(total, torch.zeros(3).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "theirs"), [("gaussian", Normal), ("laplace", Laplace)])
def test_a_bin_has_the_difference_of_the_distribution_function_at_its_sides(kind: str, theirs: type) -> None:
    x, mean, scale = grid(256)[1:-1], torch.tensor(0.3).double(), torch.tensor(0.2).double()
    d = theirs(mean, scale)
    want = torch.log(d.cdf(x + 1 / 255) - d.cdf(x - 1 / 255))
    torch.testing.assert_close(
        log_prob(x, mean, scale.log(), kind), want, rtol=1e-6, atol=1e-6
    )  # theirs cancels far out


def test_the_logistic_bin_is_the_published_difference_of_sigmoids() -> None:
    x, mean, scale = grid(256)[1:-1], torch.tensor(-0.2).double(), torch.tensor(0.1).double()
    want = torch.log(torch.sigmoid((x - mean + 1 / 255) / scale) - torch.sigmoid((x - mean - 1 / 255) / scale))
    torch.testing.assert_close(log_prob(x, mean, scale.log(), "logistic"), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_mirrored_pictures_and_means_are_as_likely(kind: str) -> None:
    x, mean, log_scale = grid(256), torch.tensor(0.37).double(), torch.tensor(-2.0).double()
    torch.testing.assert_close(log_prob(-x, -mean, log_scale, kind), log_prob(x, mean, log_scale, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_far_from_the_mean_fp32_still_knows_the_value_and_the_slope(kind: str) -> None:
    def value_and_slope(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        mean = torch.tensor([-1.0, -0.5, 0.25, 1.5], dtype=dtype, requires_grad=True)
        value = log_prob(torch.tensor([127.0], dtype=dtype) / 127.5, mean, torch.tensor(-5.0, dtype=dtype), kind)
        (slope,) = torch.autograd.grad(value.sum(), mean)
        return value.detach().double(), slope.double()

    for single, double in zip(value_and_slope(torch.float32), value_and_slope(torch.float64), strict=True):
        torch.testing.assert_close(single, double, rtol=5e-3, atol=1e-4)
        assert (double != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_with_many_levels_the_probability_is_the_density_times_the_width(kind: str) -> None:
    levels, x, log_scale = 100_001, torch.tensor([-0.5, 0.0, 0.4]).double(), torch.tensor(-1.0).double()
    u = (x - 0.1) / log_scale.exp()
    density = {
        "gaussian": -(u**2) / 2 - math.log(2 * math.pi) / 2,
        "laplace": -u.abs() - math.log(2),
        "logistic": -u - 2 * (-u).exp().log1p(),
    }
    want = density[kind] - log_scale + math.log(2 / (levels - 1))
    torch.testing.assert_close(
        log_prob(x, torch.tensor(0.1).double(), log_scale, kind, levels), want, rtol=1e-6, atol=1e-6
    )


def test_another_density_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="'laplace'"):
        log_prob(torch.zeros(1), torch.zeros(1), torch.zeros(1), "laplas")
