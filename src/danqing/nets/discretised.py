"""Densities made into probabilities of bytes: all of the density that lies nearest to a byte is that byte's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UnknownName


def log_cdf_laplace(u: Tensor) -> Tensor:
    """log F of the density exp(-|u|) / 2: u - log 2 below 0, log(1 - exp(-u) / 2) above; any shape."""
    return torch.where(u < 0, u - math.log(2), torch.log1p(-0.5 * torch.exp(-u.clamp(min=0))))


#: log F of the density at location 0 and scale 1; each is symmetric, F(-u) = 1 - F(u).
LOG_CDF: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gaussian": torch.special.log_ndtr,
    "laplace": log_cdf_laplace,
    "logistic": F.logsigmoid,
}


def log_cdf(kind: str) -> Callable[[Tensor], Tensor]:
    """The logarithm of a distribution function, by name.

    Raises:
        UnknownName: there is none of this name.
    """
    if kind not in LOG_CDF:
        raise UnknownName("likelihood", kind, LOG_CDF)
    return LOG_CDF[kind]


def log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, kind: str, levels: int = 256) -> Tensor:
    """log P(x) in nats of each number, of the shape that all broadcast to.

    P(x) = F((x + w/2 - mean) / s) - F((x - w/2 - mean) / s), w = 2 / (levels - 1); the lowest level has all that lies
    below it too, and the highest all above, so that the levels' probabilities add up to 1. Source: Salimans et al.
    2017, section 2.1.

    With 1 - F(u) = F(-u) each bin is taken to the side where F is small, and there log(F(a) - F(b)) is
    log F(a) + log(1 - exp(log F(b) - log F(a))), which is exact however far the bin is from the mean.

    Args:
        x: levels as numbers in [-1, 1], -1 the lowest and 1 the highest.
        mean: of the density, of any size.
        log_scale: log s, at most about 4: in a wider density fp32 cannot tell two sides of a bin apart.
        kind: "gaussian", "laplace" or "logistic".
        levels: how many there are, at least 2.

    Raises:
        UnknownName: another kind.
    """
    log_f, half, inverse = log_cdf(kind), 1 / (levels - 1), torch.exp(-log_scale)
    apart, last = x - mean, x.abs() > 1 - half
    away = torch.where(
        last, x.sign() * apart, apart.abs()
    )  # how far the bin is on that side; the last ones are always on their own
    near = log_f((half - away) * inverse)
    # Far out in a tail both may round to one number; the bin is never that empty.
    part = torch.log(-torch.expm1((log_f((-half - away) * inverse) - near).clamp(max=-1e-12)))
    return near + part.masked_fill(last, 0.0)
