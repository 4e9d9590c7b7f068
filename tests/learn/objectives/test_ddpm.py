"""The bound of DDPM against the joint Gaussians that it is made of, and against the exact distribution of a linear
model's bytes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from danqing.denoise import PARAMETRISATIONS, FixedVariance, LearnedVariance
from danqing.learn.measures.likelihood import BIN
from danqing.learn.objectives import ddpm
from danqing.nets.pixel_unet import MINI, PixelUNet
from danqing.schedule import VE, VP, Cosine, Flow, Linear
from danqing.types import Conditioning

DOUBLE = torch.float64
NONE = Conditioning(tokens=torch.zeros(1, 1, 1))
SCHEDULES = [
    Linear(start=0.01, end=0.4, count=12),
    Cosine(count=12),
    Cosine(count=12, zero_snr=True),
    VE(count=12),
    VP(levels=12),
    Flow(levels=12),
]


def bytes_of(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).to(DOUBLE) / 127.5 - 1


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_posterior_is_the_conditional_of_the_joint_gaussian(schedule):
    """Given x_0, (x_s, x_t) is Gaussian; conditioning it on x_t is linear algebra on its covariance."""
    level, x0, xt = torch.arange(1, 12), 0.4, -1.3
    t, s = (level.double() + 1) / 12, level.double() / 12
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    shared = alpha_t / alpha_s * sigma_s.square()  # Cov(x_s, x_t | x_0)
    mean = alpha_s * x0 + shared / sigma_t.square() * (xt - alpha_t * x0)
    variance = sigma_s.square() - shared.square() / sigma_t.square()
    step = ddpm.back(schedule, level)
    torch.testing.assert_close(step.kept * xt + step.clean * x0, mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(step.small.exp(), variance, rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(step.large.exp(), sigma_t.square() - (alpha_t / alpha_s * sigma_s).square())
    assert (step.large > step.small).all()


def test_the_variances_of_a_table_are_its_betas():
    """Ho et al.'s beta_i and beta~_i = beta_i (1 - abar_(i-1)) / (1 - abar_i)."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=DOUBLE)
    abar = torch.cumprod(1 - betas, 0)
    step = ddpm.back(Linear(), torch.arange(1000))
    torch.testing.assert_close(step.large.exp(), betas, rtol=1e-7, atol=0)
    small = betas[1:] * (1 - abar[:-1]) / (1 - abar[1:])
    torch.testing.assert_close(step.small.exp()[1:], small, rtol=1e-7, atol=0)
    assert step.small[0] == step.small[1]  # clipped, as published
    torch.testing.assert_close(step.clean[1:], abar[:-1].sqrt() * betas[1:] / (1 - abar[1:]), rtol=1e-7, atol=0)
    assert step.kept[0] == 0 and step.clean[0] == pytest.approx(1)


def test_a_decoder_gives_all_bytes_together_the_mass_1():
    every = torch.arange(256, dtype=DOUBLE) / 127.5 - 1
    for mean in (-1.2, -0.3, 0.0, 0.99, 1.5):
        for logvar in (-14.0, -8.0, -2.0, 2.0):
            nll = ddpm.decoder_nll(every, torch.full_like(every, mean), torch.full_like(every, logvar))
            assert (-nll).exp().sum() == pytest.approx(1, abs=1e-10)


def test_a_decoder_far_from_its_byte_still_tells_the_log_of_the_mass():
    """Where all mass has long rounded to 0, the log is that of the tail, and it pulls the mean back."""
    mean = torch.tensor([-0.9, 0.9], dtype=DOUBLE, requires_grad=True)
    x0, std = torch.tensor([60.0, 195.0], dtype=DOUBLE) / 127.5 - 1, 0.005
    nll = ddpm.decoder_nll(x0, mean, torch.full_like(x0, 2 * math.log(std)))
    near = ((x0 - mean).abs().detach() - BIN / 2) / std
    torch.testing.assert_close(nll.detach(), -torch.special.log_ndtr(-near), rtol=1e-6, atol=0)
    nll.sum().backward()
    assert mean.grad[0] < 0 < mean.grad[1]
    edge = torch.tensor([-1.0, 1.0], dtype=DOUBLE, requires_grad=True)
    ddpm.decoder_nll(
        torch.tensor([-1.0, 1.0], dtype=DOUBLE), edge, torch.full((2,), -30.0, dtype=DOUBLE)
    ).sum().backward()
    assert edge.grad.abs().max() < 1e-6  # at the edges no infinity leaks into a gradient


class Slope(nn.Module):
    """E[x_0 | x_t] of data N(0, s^2), as eps: a linear network that is the best there is; v is the one that makes steps
    exact."""

    def __init__(self, schedule, s2: float, v: float | None = None):
        super().__init__()
        self.schedule, self.s2, self.v = schedule, s2, v

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, **_) -> Tensor:
        level = time.round().long().cpu()
        alpha, sigma = (c.view(-1, 1, 1, 1) for c in self.schedule((level.double() + 1) / self.schedule.levels))
        x0 = alpha * self.s2 / (alpha.square() * self.s2 + sigma.square()) * x
        step = ddpm.back(self.schedule, level)
        known = torch.where(
            level == 0, 0.0, step.small.exp()
        )  # the variance of x_s where x_0 is known, without the clipping
        true = (
            known
            + step.clean.square() * self.s2 * (sigma.square() / (alpha.square() * self.s2 + sigma.square())).flatten()
        )
        v = (true.log() - step.small) / (step.large - step.small) if self.v is None else torch.full_like(true, self.v)
        return torch.cat([(x - alpha * x0) / sigma, (2 * v - 1).view(-1, 1, 1, 1).expand_as(x)], 1).to(x.dtype)


TABLE = Linear(start=1e-4, end=0.3, count=40)


def model(s2: float = 0.25, v: float | None = None) -> LearnedVariance:
    return LearnedVariance(Slope(TABLE, s2, v), TABLE, "eps")


def bound_by_quadrature(net: LearnedVariance, byte: Tensor) -> float:
    """The bound in bits with the mean over each level's noise by Gauss and Hermite, for a picture of one number."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    eps, share = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    x0, eps = byte.expand(40, 1, 1, 1), eps.view(40, 1, 1, 1)
    total = ddpm.prior_bits(TABLE, byte.view(1, 1, 1, 1))[0]
    for i in range(TABLE.levels):
        level = torch.full((40,), i)
        t = ddpm.time_of(TABLE, level, x0)
        x = net.noisy(x0, eps, t)
        total = total + (share * ddpm.step_bits(net, *net.parts(x, t, NONE), x0, x, level)).sum()
    return float(total)


def codelength(net: LearnedVariance, byte: Tensor) -> float:
    """-log2 P(byte), exactly: every step of a linear model is Gaussian, so x_1's distribution is a recursion of
    variances."""
    variance = float(TABLE(torch.ones(1, dtype=DOUBLE))[1]) ** 2
    for i in reversed(range(TABLE.levels)):
        step = ddpm.back(TABLE, torch.tensor([i]))
        out = net.net(torch.ones(1, 1, 1, 1, dtype=DOUBLE), torch.tensor([float(i)]), NONE.tokens)
        alpha, sigma = TABLE(torch.tensor([(i + 1) / TABLE.levels], dtype=DOUBLE))
        clean = float((1 - sigma * out[0, 0]) / alpha)
        v = float(out[0, 1] + 1) / 2
        gain, added = (
            float(step.kept) + float(step.clean) * clean,
            math.exp(v * float(step.large) + (1 - v) * float(step.small)),
        )
        variance = gain**2 * variance + added  # the last addition is the decoder's
    return float(
        ddpm.decoder_nll(byte, torch.zeros((), dtype=DOUBLE), torch.tensor(math.log(variance), dtype=DOUBLE))
    ) / math.log(2)


@pytest.mark.parametrize("v", [None, 0.0, 0.5, 1.0])
def test_the_bound_is_no_less_than_the_codelength_of_the_bytes(v: float | None):
    for byte in (bytes_of(1)[0], torch.tensor(0.0, dtype=DOUBLE), torch.tensor(-1.0, dtype=DOUBLE)):
        assert bound_by_quadrature(model(v=v), byte) > codelength(model(v=v), byte) - 1e-6


def test_with_the_best_mean_and_variance_the_bound_is_the_codelength():
    """Then each step back is the true posterior of data N(0, s^2), and what is left of the gap is the bins and the
    prior."""
    for value in (-0.6, 0.05, 0.4):
        byte = torch.tensor(round((value + 1) * 127.5) / 127.5 - 1, dtype=DOUBLE)
        assert bound_by_quadrature(model(), byte) == pytest.approx(codelength(model(), byte), abs=0.003)
        for v in (0.0, 1.0):
            assert bound_by_quadrature(model(v=v), byte) > bound_by_quadrature(model(), byte) + 0.005


def test_the_bound_over_the_data_is_least_at_the_variance_of_the_true_step_back():
    """Of data N(0, s^2), averaged over x_0 and eps: both at ±1 deviation give the mean of what is quadratic in them
    exactly."""
    net, level = model(), torch.arange(1, TABLE.levels).repeat_interleave(4)
    x0 = 0.5 * torch.tensor([1.0, 1, -1, -1], dtype=DOUBLE).repeat(TABLE.levels - 1).view(-1, 1, 1, 1)
    eps = torch.tensor([1.0, -1, 1, -1], dtype=DOUBLE).repeat(TABLE.levels - 1).view(-1, 1, 1, 1)
    t = ddpm.time_of(TABLE, level, x0)
    x = net.noisy(x0, eps, t)
    out, best = net.parts(x, t, NONE)
    v = best.view(-1, 4).mean(1, keepdim=True).requires_grad_()  # one of each level
    bits = ddpm.step_bits(net, out, v.expand(-1, 4).reshape(best.shape), x0, x, level).view(-1, 4).mean(1)
    (slope,) = torch.autograd.grad(bits.sum(), v)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-5, rtol=0)
    for shift in (-0.1, 0.1):
        off = ddpm.step_bits(net, out, (best + shift), x0, x, level).view(-1, 4).mean(1)
        assert (off[1:] > bits[1:]).all()


def test_the_whole_bound_is_the_sum_of_its_levels_and_its_mean_is_that_of_the_quadrature():
    byte = bytes_of(1)[0]
    found = ddpm.bound_bits(model(), byte.expand(1, 1, 60, 60).float(), NONE, torch.Generator().manual_seed(0))
    assert found.shape == (1,) and float(found) == pytest.approx(bound_by_quadrature(model(), byte), rel=0.03)


def test_a_fixed_variance_is_the_learned_one_that_never_learns():
    class Half(Slope):
        def forward(self, *args, **words):
            return super().forward(*args, **words).chunk(2, 1)[0]

    fixed, byte = FixedVariance(Half(TABLE, 0.25), TABLE, "eps", v=1.0), bytes_of(1)[0]
    assert bound_by_quadrature(fixed, byte) == pytest.approx(bound_by_quadrature(model(v=1.0), byte))


@pytest.mark.parametrize("kind", [k for k in PARAMETRISATIONS if not k.startswith("edm")])
def test_the_bound_is_the_same_in_every_parametrisation(kind: str):
    x0, eps = bytes_of(6, 1, 2, 2), torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    level = torch.tensor([0, 1, 5, 11, 30, 39])
    found = []
    for name in ("eps", kind):
        net = LearnedVariance(nn.Identity(), TABLE, name)
        t = ddpm.time_of(TABLE, level, x0)
        x = net.noisy(x0, eps, t)
        guess = 0.9 * x0  # of x_0; what is left of x is its noise
        out = net.target(guess, (x - net.noisy(guess, 0 * eps, t)) / TABLE(t)[1].view(-1, 1, 1, 1), t)
        found.append(ddpm.step_bits(net, out, torch.full_like(x0, 0.4), x0, x, level))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-7)


# Training
# ---------------------------------------------------------------------------------------------------------------


def tiny() -> tuple[LearnedVariance, tuple[Tensor, Conditioning]]:
    torch.manual_seed(0)
    net = PixelUNet(replace(MINI, block_out_channels=(8, 16), attention_heads=(0, 2), norm_num_groups=4))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return LearnedVariance(net, TABLE, "eps"), (bytes_of(4, 3, 8, 8).float(), NONE)


def test_in_the_hybrid_the_bound_moves_the_variance_and_the_simple_loss_the_mean():
    net, batch = tiny()
    last = net.net.conv_out.weight
    gradients = []
    for weight in (0.0, 1.0):
        loss = ddpm.Hybrid(weight=weight)(net, batch, torch.Generator().manual_seed(0))["loss"]
        gradients.append(torch.autograd.grad(loss, last)[0])
    plain, hybrid = gradients
    torch.testing.assert_close(hybrid[:3], plain[:3])  # the channels of F
    assert (plain[3:] == 0).all() and (hybrid[3:] != 0).any()  # those of v
    (bound,) = torch.autograd.grad(ddpm.VariationalBound()(net, batch, torch.Generator().manual_seed(0))["loss"], last)
    assert (bound[:3] != 0).any() and (bound[3:] != 0).any()


def test_every_parameter_gets_a_gradient():
    net, batch = tiny()
    ddpm.Hybrid()(net, batch, torch.Generator().manual_seed(0))["loss"].backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


class Each(ddpm.Evenly):
    """Every level once, as if drawn evenly."""

    def draw(self, count: int, levels: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.arange(levels), torch.full((levels,), float(levels))


def test_the_objective_over_all_levels_is_the_bound_without_its_prior():
    net, x0 = model(), bytes_of(1, 1, 40, 40).float()
    whole = ddpm.bound_bits(net, x0, NONE, torch.Generator().manual_seed(0)) - ddpm.prior_bits(TABLE, x0)
    batch = x0.expand(TABLE.levels, 1, 40, 40), NONE
    value = ddpm.VariationalBound(levels=Each())(net, batch, torch.Generator().manual_seed(1))["loss"]
    assert float(value) == pytest.approx(float(whole), rel=0.03)


def test_the_objective_tells_what_each_level_cost():
    net, x0, history = model(), bytes_of(6, 1, 4, 4).float(), ddpm.LossHistory(TABLE.levels)
    value = ddpm.VariationalBound(levels=history)(net, (x0, NONE), torch.Generator().manual_seed(0))["loss"]
    assert int(history.seen.sum()) == 6
    torch.testing.assert_close(value, history.losses.sum() / 6 * TABLE.levels)


def test_levels_are_drawn_in_proportion_to_the_root_of_their_mean_square_loss():
    history = ddpm.LossHistory(4, memory=2)
    torch.testing.assert_close(history.probabilities(), torch.full((4,), 0.25, dtype=DOUBLE))
    losses = torch.tensor([[1.0, 2.0, 4.0, 0.0], [3.0, 2.0, 4.0, 0.0]])
    history.tell(torch.arange(4), losses[0])
    torch.testing.assert_close(history.probabilities(), torch.full((4,), 0.25, dtype=DOUBLE))  # not all are full yet
    history.tell(torch.arange(4), losses[1])
    p = losses.double().square().mean(0).sqrt()
    torch.testing.assert_close(history.probabilities(), 0.999 * p / p.sum() + 0.001 / 4)
    history.tell(torch.tensor([0, 0]), torch.tensor([9.0, 9.0]))  # the oldest are forgotten
    assert history.losses[0].tolist() == [9.0, 9.0]
    level, inverse = history.draw(4000, 4, torch.Generator().manual_seed(0))
    p = history.probabilities()
    torch.testing.assert_close(torch.bincount(level, minlength=4) / 4000, p.float(), atol=0.03, rtol=0)
    torch.testing.assert_close(inverse, (1 / p[level]).float())


def test_remembered_levels_vary_the_estimate_less():
    """The law that the weights are chosen for: sum L_i is estimated with less variance than by even levels."""
    losses = torch.logspace(-3, 1, 40, dtype=DOUBLE)
    history = ddpm.LossHistory(40, memory=1)
    history.tell(torch.arange(40), losses.float())
    for levels, most in ((ddpm.Evenly(), math.inf), (history, 0.05)):
        level, inverse = levels.draw(2000, 40, torch.Generator().manual_seed(0))
        draws = losses[level] * inverse
        assert float(draws.mean()) == pytest.approx(float(losses.sum()), rel=0.15)
        assert draws.std() / draws.mean() < most


def test_the_memory_is_part_of_the_models_state():
    net, _ = tiny()
    net.history = ddpm.LossHistory(TABLE.levels)
    net.history.tell(torch.tensor([3]), torch.tensor([0.5]))
    other, _ = tiny()
    other.history = ddpm.LossHistory(TABLE.levels)
    other.load_state_dict(net.state_dict())
    assert other.history.losses[3, 0] == 0.5 and other.history.seen[3] == 1
