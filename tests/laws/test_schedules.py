import math

import pytest
import torch

from danqing.errors import InvalidInput, UnknownName
from danqing.schedule import (
    EDM,
    SPACINGS,
    VE,
    VP,
    Cosine,
    Flow,
    Linear,
    ScaledLinear,
    Schedule,
    exponential,
    karras,
    leading,
    linspace,
    schedule,
    sgm_uniform,
    spacing,
    trailing,
)

DOUBLE = torch.float64
ALL = [
    Linear(), ScaledLinear(), ScaledLinear(zero_snr=True), Cosine(), VP(), VE(), EDM(), Flow(), Flow(shift=3.0),
]  # fmt: skip
KINDS = pytest.mark.parametrize("kind", ALL, ids=str)
TIMES = torch.linspace(0, 1, 3001, dtype=DOUBLE)


@KINDS
def test_time_inverts_the_schedule(kind: Schedule):
    alpha, sigma = kind(TIMES)
    torch.testing.assert_close(kind.time(2 * (alpha.log() - sigma.log())), TIMES, rtol=0, atol=1e-12)


@KINDS
def test_noise_grows_with_time_from_exactly_clean(kind: Schedule):
    alpha, sigma = kind(TIMES)
    assert (alpha[0].item(), sigma[0].item()) == (1.0, 0.0)
    assert (torch.diff(sigma / alpha) > 0).all()


@KINDS
def test_schedule_keeps_shape_and_dtype(kind: Schedule):
    t = torch.rand(2, 3, 1)
    for value in (*kind(t), kind.time(t), kind.timestep(t)):
        assert value.shape == t.shape and value.dtype == t.dtype


@pytest.mark.parametrize("kind", [Linear(), ScaledLinear(), ScaledLinear(zero_snr=True), Cosine(), VP()], ids=str)
def test_variance_is_preserved(kind: Schedule):
    alpha, sigma = kind(TIMES)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones_like(TIMES), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_flow_is_a_straight_path(shift: float):
    alpha, sigma = Flow(shift=shift)(TIMES)
    torch.testing.assert_close(alpha + sigma, torch.ones_like(TIMES), rtol=0, atol=1e-15)


def test_flow_shift_scales_the_noise_to_signal_ratio():
    (a, s), (b, u) = Flow()(TIMES[1:-1]), Flow(shift=3.0)(TIMES[1:-1])
    torch.testing.assert_close(u / b, 3 * s / a)


def test_table_levels_are_the_products_of_betas_and_their_timesteps_whole_numbers():
    kind = ScaledLinear()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=DOUBLE).square()
    t = torch.arange(1, 1001, dtype=DOUBLE) / 1000
    torch.testing.assert_close(kind(t)[0].square(), torch.cumprod(1 - betas, 0), rtol=1e-12, atol=0)
    torch.testing.assert_close(kind.timestep(t), torch.arange(1000, dtype=DOUBLE), rtol=0, atol=1e-9)


def test_between_levels_log_kappa_is_linear():
    kind = ScaledLinear()
    alpha, sigma = kind(torch.tensor([0.400, 0.40025, 0.401], dtype=DOUBLE))
    low, part, high = (sigma / alpha).log().tolist()
    assert part == pytest.approx(0.75 * low + 0.25 * high, abs=1e-12)


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_level():
    plain, zero = ScaledLinear(), ScaledLinear(zero_snr=True)
    ends = torch.tensor([1 / 1000, 1.0], dtype=DOUBLE)
    assert zero(ends)[0][1].item() == 0.0 and zero(ends)[1][1].item() == 1.0
    assert zero(ends)[0][0].item() == pytest.approx(plain(ends)[0][0].item(), rel=1e-12)


def test_flow_networks_receive_a_thousand_sigma():
    t = torch.tensor([0.25, 1.0], dtype=DOUBLE)
    assert Flow().timestep(t).tolist() == [250.0, 1000.0]
    assert Flow(shift=3.0).timestep(t).tolist() == [500.0, 1000.0]


@KINDS
@pytest.mark.parametrize("name", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 100])
def test_every_spacing_falls_in_n_steps_to_clean(kind: Schedule, name: str, steps: int):
    times = SPACINGS[name](kind, steps)
    assert times.dtype == DOUBLE and len(times) == steps + 1
    assert times[0] <= 1 and times[-1] == 0 and (torch.diff(times) < 0).all()


def levels(times: torch.Tensor) -> list[int]:
    return (times[:-1] * 1000 - 1).round().int().tolist()


def test_table_spacings_visit_the_published_levels():
    kind = ScaledLinear()
    assert levels(leading(kind, 4)) == [751, 501, 251, 1]
    assert levels(leading(kind, 4, offset=0)) == [750, 500, 250, 0]
    assert levels(trailing(kind, 4)) == [999, 749, 499, 249]
    assert levels(linspace(kind, 4)) == [999, 666, 333, 0]
    assert levels(sgm_uniform(kind, 3)) == [999, 666, 333]


@pytest.mark.parametrize("kind", [ScaledLinear(), VP(), EDM()], ids=str)
def test_karras_is_uniform_in_the_root_of_kappa_and_exponential_in_its_logarithm(kind: Schedule):
    for times, f in ((karras(kind, 10), lambda k: k ** (1 / 7)), (exponential(kind, 10), torch.log)):
        alpha, sigma = kind(times[:-1])
        even = torch.diff(f(sigma / alpha))
        torch.testing.assert_close(even, even.mean().expand(9), rtol=1e-6, atol=0)


def test_edm_steps_uniform_in_time_are_karras():
    torch.testing.assert_close(linspace(EDM(), 18), karras(EDM(), 18), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", SPACINGS)
@pytest.mark.parametrize("steps", [0, -3, 2.5, True, math.nan])
def test_impossible_step_counts_are_refused(name: str, steps):
    with pytest.raises(InvalidInput, match="steps is"):
        SPACINGS[name](ScaledLinear(), steps)


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownName, match="karras"):
        spacing("karas")
    with pytest.raises(UnknownName, match="scaled-linear"):
        schedule("scaled_linear")
    with pytest.raises(InvalidInput, match="shfit"):
        schedule("flow", shfit=3.0)
    assert schedule("flow", shift=3.0) == Flow(shift=3.0)
