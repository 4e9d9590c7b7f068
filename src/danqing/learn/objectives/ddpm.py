"""The variational bound of DDPM and the objectives with a learned variance (Ho et al. 2020; Nichol & Dhariwal 2021).

The latents are x_T .. x_1, level i at time (i + 1) / T, and q the diffusion itself. Each of the steps back is a KL of
two Gaussians,

    -log p(x_0) <= KL(q(x_T | x_0) || p(x_T)) + sum over i > 0 of KL(q(x_s | x_t, x_0) || p(x_s | x_t)) - log p(x_0 |
    x_1)

with s the level below t; in bits a number throughout. Pictures are bytes as -1 .. 1; batches are (x_0 (B, C, H, W),
Conditioning).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ...denoise import LearnedVariance, coefficients
from ...nets import discretised
from ...schedule import Schedule
from ...types import Conditioning
from .divergences import kl_diagonal
from .draws import randn


class Back(NamedTuple):
    """q(x_s | x_t, x_0) = N(kept x_t + clean x_0, exp small), and the variance of x_t given x_s, exp large; each (B,),
    float64."""

    kept: Tensor
    clean: Tensor
    small: Tensor
    large: Tensor


def back(schedule: Schedule, level: Tensor) -> Back:
    """The step from ``level`` to the one below, (B,) whole numbers 0 .. T-1 on the CPU (Ho et al. 2020, equation 7).

    With a = alpha_t / alpha_s and beta = sigma_t^2 - a^2 sigma_s^2, the product of q(x_t | x_s) and q(x_s | x_0) is a
    Gaussian of x_s with

        mean = (a sigma_s^2 x_t + alpha_s beta x_0) / sigma_t^2,      variance = beta~ = beta sigma_s^2 / sigma_t^2

    At level 0, whose x_s is clean, the log of beta~ is taken from level 1, as in the published models.
    """
    t, s = ((level.double() + shift) / schedule.levels for shift in (1, 0))
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    a = alpha_t / alpha_s
    beta = sigma_t.square() - (a * sigma_s).square()
    small = (beta * (sigma_s / sigma_t).square()).log()
    if (level == 0).any():
        small = torch.where(level == 0, back(schedule, torch.ones_like(level)).small, small)
    return Back(a * (sigma_s / sigma_t).square(), alpha_s * beta / sigma_t.square(), small, beta.log())


def decoder_nll(x0: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """-log P(byte) in nats of each number: the mass of N(mean, exp logvar) in the byte's bin, and beyond the last ones'
    outer edges (Ho et al. 2020, equation 13). All of one shape, or shapes that broadcast."""
    return -discretised.log_prob(x0, mean, 0.5 * logvar, "gaussian")


def _at(c: Tensor, x: Tensor) -> Tensor:
    """(B,) against (B, ...), in float32 at least."""
    return c.to(x.device, torch.promote_types(x.dtype, torch.float32)).view(-1, *[1] * (x.ndim - 1))


def step_bits(model: LearnedVariance, out: Tensor, v: Tensor, x0: Tensor, x: Tensor, level: Tensor) -> Tensor:
    """The bound's term of each picture's level, (B,), in bits a number.

    Args:
        model: what ``out`` and ``v`` are ``parts`` of, at ``x``.
        out, v, x0, x: (B, C, H, W); x = x_t.
        level: (B,) whole numbers 0 .. T-1 on the CPU; at 0 the term is the decoder's.
    """
    c = coefficients(model.prediction, model.schedule, (level.double() + 1) / model.schedule.levels)
    clean = _at(c.skip, x) * x + _at(c.out, x) * out  # E[x_0 | x_t]
    step = back(model.schedule, level)
    logvar = v * _at(step.large, x) + (1 - v) * _at(step.small, x)
    # Of both means the part of x_t is the same, and cancels.
    nats = (
        kl_diagonal(_at(step.clean, x) * x0, _at(step.small, x), _at(step.clean, x) * clean, logvar).flatten(1).mean(1)
    )
    last = (level == 0).nonzero()[:, 0].to(x.device)  # few or none: the decoder costs as much as a layer of the network
    mean = _at(step.kept, x)[last] * x[last] + _at(step.clean, x)[last] * clean[last]
    return nats.index_copy(0, last, decoder_nll(x0[last], mean, logvar[last]).flatten(1).mean(1)) / math.log(2)


def prior_bits(schedule: Schedule, x0: Tensor) -> Tensor:
    """KL(q(x_T | x_0) || N(0, sigma_T^2)) = (alpha_T x_0 / sigma_T)^2 / 2, (B,), in bits a number: sampling starts from
    sigma_T z."""
    alpha, sigma = schedule(torch.ones(1, dtype=torch.float64))
    return 0.5 * (float(alpha / sigma) * x0).square().flatten(1).mean(1) / math.log(2)


@torch.no_grad()
def bound_bits(
    model: LearnedVariance, x0: Tensor, cond: Conditioning, noise: torch.Generator, strata: int | None = None
) -> Tensor:
    """The whole bound with one draw of noise a level: (B,), in bits a number. Its mean over draws bounds the
    codelength.

    Args:
        strata: into how many parts the levels above 0 fall, of which one drawn level each stands for its part: less to
            compute, and still the bound on average. None looks at all T levels.
    """
    levels = model.schedule.levels
    total = prior_bits(model.schedule, x0)
    edges = torch.linspace(1, levels, min(strata or levels, levels - 1) + 1).round().long().tolist()
    for begin, end in ((0, 1), *pairwise(edges)):
        level = torch.randint(begin, end, (len(x0),), generator=noise)
        look = looked(model, x0, cond, level, noise)
        total = total + (end - begin) * step_bits(model, look.out, look.v, x0, look.x, level)
    return total


def time_of(schedule: Schedule, level: Tensor, x: Tensor) -> Tensor:
    """t of levels, (B,), where x is and in float32 at least."""
    return ((level.double() + 1) / schedule.levels).to(x.device, torch.promote_types(x.dtype, torch.float32))


class Look(NamedTuple):
    """A noised picture and what the network says of it: x = x_t, what ``out`` was to be, F and v; each (B, C, H, W)."""

    x: Tensor
    target: Tensor
    out: Tensor
    v: Tensor


def looked(model: LearnedVariance, x0: Tensor, cond: Conditioning, level: Tensor, noise: torch.Generator) -> Look:
    """Noise pictures to their levels and ask the network."""
    eps, t = randn(tuple(x0.shape), noise, x0), time_of(model.schedule, level, x0)
    x = model.noisy(x0, eps, t)
    return Look(x, model.target(x0, eps, t), *model.parts(x, t, cond))


# Which levels a step of training sees ---------------------------------------------------------------------------------


class Levels(Protocol):
    """Draws levels, and is told what they cost."""

    def draw(self, count: int, levels: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """``count`` of 0 .. levels-1, on the CPU, and one over the probability of each."""
        ...

    def tell(self, level: Tensor, bits: Tensor) -> None: ...


@dataclass(frozen=True)
class Evenly:
    """Every level as likely as any other."""

    def draw(self, count: int, levels: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.randint(levels, (count,), generator=noise), torch.full((count,), float(levels))

    def tell(self, level: Tensor, bits: Tensor) -> None:
        pass


class LossHistory(nn.Module):
    """Levels with probabilities p_i ~ sqrt(E [L_i^2]) over their last ``memory`` losses, even until all have so many.

    sum L_i = E_p [L_i / p_i] for any p, and of all p this one has the least variance, by Cauchy and Schwarz; the terms
    of the bound span orders of magnitude (Nichol & Dhariwal 2021, section 3.3). A thousandth is even, so that no level
    is forgotten.

    It is a module that the model should own, ``model.history = LossHistory(T)``: then it is in the checkpoints.

    Args:
        levels: T.
        memory: how many losses a level keeps.
    """

    losses: Tensor
    seen: Tensor

    def __init__(self, levels: int, memory: int = 10):
        super().__init__()
        self.register_buffer("losses", torch.zeros(levels, memory))
        self.register_buffer("seen", torch.zeros(levels, dtype=torch.long))

    def probabilities(self) -> Tensor:
        """p, (T,), on the CPU."""
        losses, seen = self.losses.cpu().double(), self.seen.cpu()
        p = losses.square().mean(1).sqrt()
        if (seen < losses.shape[1]).any() or not p.sum() > 0:
            return torch.full_like(p, 1 / len(p))
        return 0.999 * p / p.sum() + 0.001 / len(p)

    def draw(self, count: int, levels: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        p = self.probabilities()
        level = torch.multinomial(p, count, replacement=True, generator=noise)
        return level, (1 / p[level]).float()

    @torch.no_grad()
    def tell(self, level: Tensor, bits: Tensor) -> None:
        """Remember losses, (B,), the oldest of each level being forgotten."""
        for i, loss in zip(level.tolist(), bits.to(self.losses), strict=True):
            self.losses[i, int(self.seen[i]) % self.losses.shape[1]] = loss
            self.seen[i] += 1


# The objectives -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """L_simple + weight L_vlb: E |F - target|^2, and the bound, which trains the variance alone (Nichol & Dhariwal
    2021, eq. 16).

    In the bound F is held, so that it moves v and no mean: its terms weigh levels in a way that gives worse pictures.
        Its estimate is
    T times the term of an even level.

    Args:
        weight: of the bound in bits a number.
    """

    weight: float = 0.001

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Conditioning], noise: torch.Generator
    ) -> dict[str, Tensor]:
        assert isinstance(model, LearnedVariance)
        x0, cond = batch
        level, inverse = Evenly().draw(len(x0), model.schedule.levels, noise)
        look = looked(model, x0, cond, level, noise)
        simple = (look.out - look.target).square().mean()
        bits = (step_bits(model, look.out.detach(), look.v, x0, look.x, level) * inverse.to(x0.device)).mean()
        return {"loss": simple + self.weight * bits, "simple": simple, "bits": bits}


@dataclass(frozen=True, kw_only=True)
class VariationalBound:
    """L_vlb itself, E_p [L_i / p_i] over levels, in bits a number, without the constant term of the prior.

    Args:
        levels: `Evenly`, or a `LossHistory` that the model owns.
    """

    levels: Levels = field(default_factory=Evenly)

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Conditioning], noise: torch.Generator
    ) -> dict[str, Tensor]:
        assert isinstance(model, LearnedVariance)
        x0, cond = batch
        level, inverse = self.levels.draw(len(x0), model.schedule.levels, noise)
        look = looked(model, x0, cond, level, noise)
        bits = step_bits(model, look.out, look.v, x0, look.x, level)
        self.levels.tell(level, bits.detach())
        return {"loss": (bits * inverse.to(x0.device)).mean()}
