from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from danqing.denoise import PARAMETRISATIONS, Boundary, Denoiser, convert
from danqing.errors import InvalidInput, UnknownName
from danqing.schedule import EDM, VE, VP, Flow, ScaledLinear, Schedule
from danqing.types import Conditioning, Denoised

DOUBLE = torch.float64
SCHEDULES = [ScaledLinear(), ScaledLinear(zero_snr=True), VP(), VE(), EDM(), Flow(shift=3.0)]
NONE = Conditioning(tokens=torch.zeros(1, 1, 1, dtype=DOUBLE))


class Oracle(nn.Module):
    """Answers what it is told, and remembers what it was asked."""

    def __init__(self, answer: Tensor):
        super().__init__()
        self.answer, self.asked = answer, {}

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, **rest) -> Tensor:
        self.asked = {"x": x, "time": time, "tokens": tokens, **rest}
        return self.answer


def batch() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(5, 2, 3, 3, generator=draw, dtype=DOUBLE) for _ in range(2))
    return x0, eps, torch.tensor([0.05, 0.1, 0.5, 0.9, 0.999], dtype=DOUBLE)


def fits(kind: str, schedule: Schedule) -> bool:
    return kind not in ("eps", "score", "edm", "edm-v") or bool(schedule(torch.ones(1))[0] > 0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_a_network_that_meets_its_target_gives_back_the_clean_picture(kind: str, schedule: Schedule):
    if not fits(kind, schedule):
        with pytest.raises(InvalidInput, match="no signal"):
            Denoiser(nn.Identity(), schedule, kind)
        return
    x0, eps, t = batch()
    denoiser = Denoiser(Oracle(x0), schedule, kind)
    denoiser.net.answer = denoiser.target(x0, eps, t)
    torch.testing.assert_close(denoiser(denoiser.noisy(x0, eps, t), t, NONE).x0, x0, rtol=0, atol=1e-8)
    torch.testing.assert_close(denoiser.predict(x0, t, NONE), denoiser.target(x0, eps, t))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_any_parametrisation_converts_to_any_other_and_back(schedule: Schedule):
    x0, eps, t = batch()
    for source, to in permutations([k for k in PARAMETRISATIONS if fits(k, schedule)], 2):
        here, there = (Denoiser(nn.Identity(), schedule, kind) for kind in (source, to))
        x = here.noisy(x0, eps, t)
        value = convert(here.target(x0, eps, t), x, t, schedule, source, to)
        torch.testing.assert_close(value, there.target(x0, eps, t), rtol=1e-6, atol=1e-6)
        back = convert(value, x, t, schedule, to, source)
        torch.testing.assert_close(back, here.target(x0, eps, t), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_at_the_clean_end_targets_and_estimates_stay_defined(kind: str):
    x0, eps, _ = batch()
    denoiser = Denoiser(Oracle(x0), VP(), kind)
    t = torch.zeros(5, dtype=DOUBLE)
    denoiser.net.answer = denoiser.target(x0, 0 * eps, t)
    torch.testing.assert_close(denoiser(x0, t, NONE).x0, x0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", PARAMETRISATIONS)
def test_times_of_any_precision_give_finite_estimates_of_the_precision_of_the_sample(kind: str, dtype: torch.dtype):
    x0, eps, _ = batch()
    t = torch.tensor([0.0, 0.125, 0.5, 0.75, 1.0], dtype=dtype)  # exact in all of them
    denoiser = Denoiser(Oracle(x0), VP(), kind)
    denoiser.net.answer = denoiser.target(x0, eps, t)
    estimate = denoiser(denoiser.noisy(x0, eps, t.to(DOUBLE)), t, NONE).x0
    assert estimate.dtype == DOUBLE
    if kind != "score":  # whose target at t = 0 is infinite noise
        torch.testing.assert_close(estimate, x0, rtol=0, atol=1e-3)
    assert estimate.isfinite().all()


def test_published_coefficients():
    x0, eps, t = batch()
    alpha, sigma = (c.view(-1, 1, 1, 1) for c in VP()(t))
    target = {kind: Denoiser(nn.Identity(), VP(), kind).target(x0, eps, t) for kind in PARAMETRISATIONS}
    torch.testing.assert_close(target["eps"], eps)
    torch.testing.assert_close(target["x0"], x0)
    torch.testing.assert_close(target["v"], alpha * eps - sigma * x0)
    torch.testing.assert_close(target["score"], -eps / sigma)
    torch.testing.assert_close(target["flow"], eps - x0)


def test_edm_preconditioning_is_table_1_of_karras():
    x0, eps, t = batch()
    sigma = EDM()(t)[1].view(-1, 1, 1, 1)
    net = Oracle(torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE))
    x, d = x0 + sigma * eps, 0.5
    norm = sigma.square() + d**2
    expected = d**2 / norm * x + sigma * d / norm.sqrt() * net.answer
    torch.testing.assert_close(Denoiser(net, EDM(), "edm")(x, t, NONE).x0, expected)
    torch.testing.assert_close(net.asked["x"], x / norm.sqrt())
    torch.testing.assert_close(net.asked["time"], sigma.flatten().log() / 4)


@pytest.mark.parametrize("schedule", [VP(), VE(), ScaledLinear()], ids=str)
def test_an_edm_network_is_asked_the_same_under_every_schedule(schedule: Schedule):
    """kappa is its sigma and x_t / alpha its x, whatever the alpha of the schedule."""
    x0, eps, _ = batch()
    times = torch.tensor([0.3, 0.5, 0.6, 0.7, 0.75], dtype=DOUBLE)
    there = schedule.time(2 * (EDM()(times)[0].log() - EDM()(times)[1].log()))
    nets = [Oracle(x0), Oracle(x0)]
    own, other = Denoiser(nets[0], EDM(), "edm"), Denoiser(nets[1], schedule, "edm")
    estimates = own(own.noisy(x0, eps, times), times, NONE), other(other.noisy(x0, eps, there), there, NONE)
    torch.testing.assert_close(*(found.x0 for found in estimates), rtol=1e-9, atol=1e-9)
    for name in ("x", "time"):
        torch.testing.assert_close(nets[0].asked[name], nets[1].asked[name], rtol=1e-9, atol=1e-9)


def test_the_network_is_shown_everything_of_the_conditioning_in_its_own_precision():
    net = Oracle(torch.zeros(2, 3, 4, 4))
    net.register_parameter("weight", nn.Parameter(torch.zeros(1, dtype=torch.bfloat16)))
    face = {"face": torch.ones(1, 9)}
    cond = Conditioning(tokens=torch.ones(1, 7, 5), pooled=torch.ones(1, 6), concat=torch.ones(1, 2, 4, 4), extra=face)
    out = Denoiser(net, ScaledLinear(), "eps")(torch.randn(2, 3, 4, 4), torch.tensor([0.5, 1.0]), cond)
    asked = net.asked
    assert out.x0.dtype == torch.float32
    assert asked["time"].dtype == torch.float32 and asked["time"].tolist() == [499.0, 999.0]
    assert asked["x"].shape == (2, 5, 4, 4) and (asked["x"][:, 3:] == 1).all()
    assert asked["tokens"].shape == (2, 7, 5) and asked["pooled"].shape == (2, 6)
    assert asked["extra"]["face"].shape == (2, 9)
    assert all(
        v.dtype == torch.bfloat16 for v in (asked["x"], asked["tokens"], asked["pooled"], asked["extra"]["face"])
    )


def test_a_consistency_boundary_returns_a_clean_sample_itself():
    x0, _, _ = batch()
    hold = Boundary(denoise=lambda x, t: Denoised(0 * x + 7.0), schedule=ScaledLinear())
    assert torch.equal(hold(x0, torch.zeros(5, dtype=DOUBLE)).x0, x0)
    torch.testing.assert_close(hold(x0, torch.ones(5, dtype=DOUBLE)).x0, torch.full_like(x0, 7.0), rtol=1e-3, atol=0)


def test_unknown_prediction_offers_the_nearest():
    with pytest.raises(UnknownName, match="flow"):
        Denoiser(nn.Identity(), VP(), "flw")
