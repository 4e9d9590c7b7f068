"""How far one distribution is from another: Kullback-Leibler and Jensen-Shannon, in nats, in closed form and by
drawing.

    KL(p || q) = E_p [log p(x) - log q(x)] >= 0,      JSD(p, q) = KL(p || m) / 2 + KL(q || m) / 2,  m = (p + q) / 2

KL is 0 only where p = q, for -log is convex (Jensen): E_p [-log q/p] >= -log E_p [q/p] = 0. It has no upper bound and
no symmetry; JSD has both, and lies in [0, log 2].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from ...errors import InvalidInput


class Estimated(NamedTuple):
    """A mean of independent draws and its standard error, std / sqrt(count)."""

    mean: Tensor
    error: Tensor


def estimated(draws: Tensor) -> Estimated:
    """The mean over the first axis; draws (N, ...), N >= 2.

    Raises:
        InvalidInput: fewer than two draws, from which no error can be told.
    """
    if len(draws) < 2:
        raise InvalidInput(f"{len(draws)} draws tell no standard error: draw at least 2")
    return Estimated(draws.mean(0), draws.std(0) / math.sqrt(len(draws)))


def drawn(distribution: Distribution, count: int, noise: torch.Generator) -> Tensor:
    """(count, ...) draws that depend on ``noise`` alone; reparametrised, so that a gradient reaches the distribution,
    where it can.

    torch's distributions know only the global generators, so these are seeded for the moment and then put back.
    """
    seed = int(torch.randint(2**62, (), generator=noise))
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return distribution.rsample((count,)) if distribution.has_rsample else distribution.sample((count,))


# Kullback-Leibler ---------------------------------------------------------------------------------------------------


def kl_diagonal(mean_p: Tensor, logvar_p: Tensor, mean_q: Tensor, logvar_q: Tensor) -> Tensor:
    """KL(N(m_p, v_p) || N(m_q, v_q)) of each element, in nats; all of one shape, or shapes that broadcast.

    E_p of log p - log q = (log v_q - log v_p)/2 - (x - m_p)^2 / 2 v_p + (x - m_q)^2 / 2 v_q, with E_p (x - m_p)^2 = v_p
    and E_p (x - m_q)^2 = v_p + (m_p - m_q)^2:

        KL = (log v_q - log v_p + v_p / v_q - 1 + (m_p - m_q)^2 / v_q) / 2        (Kingma & Welling 2013, app. B, for q
        = N(0, 1))
    """
    return 0.5 * (
        logvar_q - logvar_p + torch.expm1(logvar_p - logvar_q) + (mean_p - mean_q).square() * torch.exp(-logvar_q)
    )


def kl_gaussian(mean_p: Tensor, covariance_p: Tensor, mean_q: Tensor, covariance_q: Tensor) -> Tensor:
    """KL(N(m_p, P) || N(m_q, Q)) in nats, (...); means (..., D), covariances (..., D, D), symmetric and positive.

    As in one dimension, with E_p (x - m_q)^T Q^-1 (x - m_q) = tr Q^-1 P + |m_p - m_q|^2 in the metric Q^-1:

        KL = (log det Q - log det P + tr Q^-1 P - D + (m_p - m_q)^T Q^-1 (m_p - m_q)) / 2

    By Cholesky factors P = A A^T, Q = B B^T the trace is |B^-1 A|^2, so nothing is inverted.

    Raises:
        InvalidInput: a covariance that is not positive.
    """
    (a, wrong_p), (b, wrong_q) = torch.linalg.cholesky_ex(covariance_p), torch.linalg.cholesky_ex(covariance_q)
    if wrong_p.any() or wrong_q.any():
        raise InvalidInput(
            "a covariance is not positive: its eigenvalues must be above 0; add a little to its diagonal"
        )
    halves = torch.linalg.solve_triangular(b, a, upper=False)  # B^-1 A
    shift = torch.linalg.solve_triangular(b, (mean_p - mean_q)[..., None], upper=False)  # B^-1 (m_p - m_q)
    logs = 2 * (b.diagonal(dim1=-2, dim2=-1).log() - a.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
    return 0.5 * (logs + halves.square().sum((-2, -1)) - mean_p.shape[-1] + shift.square().sum((-2, -1)))


def plain(log_ratio: Tensor) -> Tensor:
    """-log r with r = q/p at a draw of p: its mean is KL(p || q) by definition. A single one may be negative."""
    return -log_ratio


def controlled(log_ratio: Tensor) -> Tensor:
    """(r - 1) - log r with r = q/p at a draw of p: `plain` and a control variate, for E_p [r] = 1.

    Of the same mean, never negative, since log r <= r - 1, and quadratic in a small difference, where `plain` is
    linear: so its variance is far lower where p is near q (Schulman 2020, "Approximating KL divergence", k3). Where q
    has the heavier tails r may have no variance; then `plain` is better. It needs q > 0 only where p > 0, but E_p [r] =
    1 needs the converse too.
    """
    return torch.expm1(log_ratio) - log_ratio


def kl_drawn(
    p: Distribution, q: Distribution, count: int, noise: torch.Generator, form: Callable[[Tensor], Tensor] = controlled
) -> Estimated:
    """KL(p || q) in nats from ``count`` draws of p, unbiased, for any two distributions over the same values.

    Args:
        p, q: of one batch shape (...); what is estimated has it.
        count: how many draws, at least 2.
        form: `plain` or `controlled`.
    """
    x = drawn(p, count, noise)
    return estimated(form(q.log_prob(x) - p.log_prob(x)))


# Jensen-Shannon, and the game that estimates it ---------------------------------------------------------------------


def optimal_logit(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The logit of D* = p / (p + q), the best discriminator: log p - log q, of any shape.

    At each x the game's p log D + q log(1 - D) is largest where p / D = q / (1 - D) (Goodfellow et al. 2014,
    proposition 1).
    """
    return log_p - log_q


def game_value(real: Tensor, fake: Tensor) -> Tensor:
    """V = E_p log D(x) + E_q log(1 - D(x)) in nats: what a discriminator raises and a generator lowers; from logits
    (N,), (M,).

    With D*: V = E_p log p/(2m) + E_q log q/(2m) = 2 JSD(p, q) - log 4 (Goodfellow et al. 2014, equation 1 and theorem
        1).
    """
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """-E log D(G(z)) from logits (M,): what a generator lowers instead of E log(1 - D(G(z))).

    The derivatives by the logit are D - 1 and -D: of one sign, so the fixed point is the same, but where the
    discriminator is sure (D near 0) this one still pulls and that one does not (Goodfellow et al. 2014, section 3).
    """
    return F.softplus(-fake).mean()


def jensen_shannon(p: Distribution, q: Distribution, count: int, noise: torch.Generator) -> Estimated:
    """JSD(p, q) in nats, as (V(D*) + log 4) / 2 from ``count`` draws of each; unbiased, for any two of one batch
    shape."""
    real, fake = drawn(p, count, noise), drawn(q, count, noise)
    logits = optimal_logit(p.log_prob(real), q.log_prob(real)), optimal_logit(p.log_prob(fake), q.log_prob(fake))
    return estimated(0.5 * (F.logsigmoid(logits[0]) + F.logsigmoid(-logits[1]) + math.log(4)))
