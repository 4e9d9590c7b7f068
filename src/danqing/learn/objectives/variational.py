"""Bounds on the evidence of latent-variable models: the ELBO, and the tighter bounds of several draws.

For any q(z | x), with w = p(x, z) / q(z | x), whose mean under q is p(x):

    log p(x) = log E_q [w] >= E_q [log w] = ELBO                                                          (Jensen)
    ELBO = E_q log p(x | z) - KL(q || p(z)) = log p(x) - KL(q || p(z | x))          (p(x, z) written in its two ways)

So the gap is the distance of q from the true posterior. Source: Kingma & Welling 2013, section 2.2. The mean of k
weights spreads less
than one, so its log is nearer: L_k = E log mean_k w, L_1 = ELBO, L_k <= L_(k+1) <= log p(x) (Burda et al. 2016, theorem
1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from ...errors import InvalidInput


def log_weights(log_joint: Callable[[Tensor], Tensor], q: Distribution, z: Tensor) -> Tensor:
    """log w = log p(x, z) - log q(z | x), (K, B).

    Args:
        log_joint: z -> log p(x, z) in nats: (K, B, ...) -> (K, B), x being held.
        q: of batch shape (B,).
        z: K draws of q for each x, (K, B, ...); reparametrised ones carry the gradient (`divergences.drawn`).
    """
    return log_joint(z) - q.log_prob(z)


def elbo(log_w: Tensor) -> Tensor:
    """E_q log w in nats, from K draws each: (K, B) -> (B,). Unbiased."""
    return log_w.mean(0)


def importance_bound(log_w: Tensor, k: int) -> Tensor:
    """L_k = E log (w_1 + .. + w_k) / k in nats, (K, B) -> (B,): the mean over K / k groups of k draws, unbiased for
    L_k.

    Raises:
        InvalidInput: k does not divide K.
    """
    if k < 1 or len(log_w) % k:
        raise InvalidInput(f"groups of {k} do not divide {len(log_w)} draws: give a k that does")
    return (torch.logsumexp(log_w.unflatten(0, (-1, k)), 1) - math.log(k)).mean(0)
