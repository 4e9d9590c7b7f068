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
def test_what_lies_beyond_a_schedule_is_held_to_its_ends(kind: Schedule):
    beyond = torch.tensor([math.inf, 1e4, -1e4, -math.inf], dtype=DOUBLE)
    torch.testing.assert_close(kind.time(beyond), torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=DOUBLE), rtol=0, atol=1e-12)


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


def test_vp_loses_its_signal_at_half_of_beta():
    """d log alpha / dt = -beta(t) / 2, beta linear from beta_min to beta_max."""
    t = TIMES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(VP(beta_min=0.2, beta_max=15.0)(t)[0].log().sum(), t)
    torch.testing.assert_close(-2 * slope, 0.2 + 14.8 * TIMES)


def test_ve_and_edm_grow_between_their_sigmas_as_published():
    (ve, edm), t = (kind(TIMES)[1] for kind in (VE(sigma_min=0.02, sigma_max=30.0), EDM())), TIMES
    torch.testing.assert_close(ve[3::3], 0.02 * 1500 ** ((1000 * t[3::3] - 1) / 999))
    torch.testing.assert_close(edm, 80 * t**7)
    assert EDM()(torch.tensor([EDM().t_min], dtype=DOUBLE))[1].item() == pytest.approx(0.002, rel=1e-12)


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
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 100, 777, 1000])
def test_every_spacing_falls_in_n_steps_to_clean(kind: Schedule, name: str, steps: int):
    times = SPACINGS[name](kind, steps)
    assert times.dtype == DOUBLE and len(times) == steps + 1
    assert times[0] <= 1 and times[-1] == 0 and (torch.diff(times) < 0).all()
    assert times[-2] >= kind.t_min - 1e-12  # what a network was never shown is not asked of it


def levels(times: torch.Tensor) -> list[int]:
    return (times[:-1] * 1000 - 1).round().int().tolist()


def test_table_spacings_visit_the_published_levels():
    kind = ScaledLinear()
    assert levels(leading(kind, 4)) == [751, 501, 251, 1]
    assert levels(leading(kind, 4, offset=0)) == [750, 500, 250, 0]
    assert levels(leading(kind, 1000)) == levels(trailing(kind, 1000)) == [*range(999, -1, -1)]
    assert levels(leading(kind, 500, offset=5))[:2] == [999, 997]
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


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("linear", {"start": 0.02, "end": 0.01}), ("scaled-linear", {"end": 1.5}), ("cosine", {"s": -1.0}),
        ("vp", {"beta_min": 0.0}), ("ve", {"sigma_min": 50.0}), ("edm", {"rho": 0.0}), ("edm", {"sigma_max": math.nan}),
        ("flow", {"shift": -3.0}), ("flow", {"shift": "3"}), ("cosine", {"count": 1}), ("vp", {"levels": 2.5}),
    ],
)  # fmt: skip
def test_options_outside_their_domain_are_refused(kind: str, options: dict):
    with pytest.raises(InvalidInput, match=next(iter(options)) if "count" not in options else "levels"):
        schedule(kind, **options)


def test_a_negative_offset_is_refused():
    with pytest.raises(InvalidInput, match="offset"):
        leading(ScaledLinear(), 10, offset=-1)


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownName, match="karras"):
        spacing("karas")
    with pytest.raises(UnknownName, match="scaled-linear"):
        schedule("scaled_linear")
    with pytest.raises(InvalidInput, match="shfit"):
        schedule("flow", shfit=3.0)
    assert schedule("flow", shift=3.0) == Flow(shift=3.0)
