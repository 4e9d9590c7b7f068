"""Exact likelihood of a diffusion model, by the flow of its probabilities (Song et al. 2021, section 4.3 and appendix
D.2).

In y = x_t / alpha_t and lambda = -log(sigma / alpha) every schedule's probability flow is one equation, and by the
instantaneous change of variables (Chen et al. 2018, theorem 1) the density along it changes by the divergence, for y of
d numbers:

    dy/dlambda = D(y) - y,      d log p(y) / dlambda = -div(D(y) - y) = d - div D(y),      D = E[x_0 | x_t]

So log p at the data's end is the log density of where the flow from it ends in noise, y ~ N(0, kappa^2 I), plus the
integral of d - div D over lambda between the ends.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import InvalidInput
from ...schedule import Schedule, exponential
from ...types import Denoise
from ..objectives.scores import basis, curvatures

#: The width of a byte's bin where bytes 0 .. 255 are -1 .. 1.
BIN = 2 / 255


class Likelihood(NamedTuple):
    """log p(x) in nats, (B,), and the noise that x flows to, (B, ...), of about unit variance."""

    log_p: Tensor
    noise: Tensor


@torch.no_grad()
def log_likelihood(
    denoise: Denoise, schedule: Schedule, x: Tensor, *, steps: int = 64, probes: Tensor | None = None
) -> Likelihood:
    """log p(x) in nats under the probability flow, by the classical Runge-Kutta rule of order 4, equal steps in lambda.

    It is the density of what the flow makes, by ``schedule.t_min``, of the noise that sampling starts from, N(0,
    kappa^2 I): where data of mean m end in N(m, ..), that is n . m / kappa nats off theirs for the noise n. Where the
    schedule ends in pure noise (alpha = 0) the flow ends one level before.

    Args:
        denoise: (x_t, t) -> E[x_0 | x_t].
        schedule: that of ``denoise``.
        x: (B, ...), as the data.
        steps: of 4 looks each.
        probes: (K, B, ...) for Hutchinson's estimate of the divergence, e.g. `scores.rademacher`, held along the path,
            which is unbiased; None for the exact divergence, at a backward pass for each number of a row.

    Raises:
        InvalidInput: probes of another shape than x; ``steps`` is no whole number from 1.
    """
    if probes is not None and probes.shape[1:] != x.shape:
        raise InvalidInput(
            f"probes of shape {tuple(probes.shape)} do not go with x of shape {tuple(x.shape)}: give (K, *x.shape)"
        )
    vectors, dims = (basis(x) if probes is None else probes), x[0].numel()
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InvalidInput(f"steps is {steps!r}: give a whole number from 1 up")
    alpha, sigma = schedule(exponential(schedule, 2)[:2])  # at the noise's end and at the data's
    end, start = (alpha.log() - sigma.log()).tolist()
    lams = torch.linspace(start, end, steps + 1, dtype=torch.float64).tolist()

    def slope(y: Tensor, lam: float) -> tuple[Tensor, Tensor]:
        """dy/dlambda and d log p / dlambda."""
        t = schedule.time(torch.tensor([2 * lam], dtype=torch.float64))
        scale = float(schedule(t)[0])
        at = t.to(x.device, torch.promote_types(x.dtype, torch.float32)).expand(len(y))
        clean, bent = curvatures(lambda y: denoise(scale * y, at).x0, y, vectors)
        return clean - y, dims - bent.mean(0)

    y, log_p = x, x.new_zeros(len(x))
    for lam, after in pairwise(lams):
        h = after - lam
        k1, r1 = slope(y, lam)
        k2, r2 = slope(y + h / 2 * k1, lam + h / 2)
        k3, r3 = slope(y + h / 2 * k2, lam + h / 2)
        k4, r4 = slope(y + h * k3, after)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        log_p = log_p - h / 6 * (r1 + 2 * r2 + 2 * r3 + r4)
    kappa = math.exp(-lams[-1])
    noise = y / kappa
    prior = -0.5 * noise.square().flatten(1).sum(1) - dims * (0.5 * math.log(2 * math.pi) + math.log(kappa))
    return Likelihood(log_p + prior, noise)


def dequantise(picture: Tensor, noise: torch.Generator) -> Tensor:
    """Bytes as numbers with a density: x + BIN (u - 1/2), u uniform in [0, 1); picture (...) of 256 values in [-1, 1].

    A model of densities that saw bytes alone could put infinite density on 256 points. With u, by Jensen,

        E_u log p(x + BIN (u - 1/2)) <= log int p over the bin / BIN = log P(byte) - log BIN

    so p's own bits bound those of the bytes (Theis et al. 2016, section 3.1).
    """
    return picture + BIN * (torch.rand(picture.shape, generator=noise).to(picture.device, picture.dtype) - 0.5)


def bits_per_dim(log_p: Tensor, dims: int, width: float = BIN) -> Tensor:
    """-(log p + d log width) / (d log 2): from log p in nats of dequantised pictures, (B,), the bits a number of bytes,
    (B,).

    Args:
        log_p: of pictures whose bins are ``width`` wide.
        dims: d, how many numbers a picture has.
    """
    return -(log_p / dims + math.log(width)) / math.log(2)
