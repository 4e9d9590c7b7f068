"""Score matching: four losses whose minimiser is s(x) = grad_x log p(x), though p is known by its draws alone.

What one would lower is the distance itself, J = E_p |s - grad log p|^2 / 2, which is `explicit`. The others differ from
it by a constant that does not depend on s:

- `implicit` (Hyvärinen 2005, theorem 1): in -E_p s . grad log p = -int s . grad p, integration by parts gives +int p
  div s. So J = E_p [div s + |s|^2 / 2] + E_p |grad log p|^2 / 2.
- `sliced` (Song et al. 2019): for probes v with E v v^T = I, div s = E v^T (ds/dx) v and |s|^2 = E (v . s)^2: one
  backward pass instead of one for each dimension.
- `denoising` (Vincent 2011): grad log p_t(x_t) = E[grad log q(x_t | x_0) | x_t], and the closest function of x_t to a
  random target is its conditional mean; the target is -eps / sigma for x_t = alpha x_0 + sigma eps. No derivative of s
  at all, but the score is p_t's.

A score function here is (B, ...) -> (B, ...), each row by itself; losses are means over the batch, in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...denoise import Denoiser
from ...schedule import Schedule
from ...types import Conditioning, Denoise
from .draws import randn, uniform

#: (B, ...) -> (B, ...), row by row.
Field = Callable[[Tensor], Tensor]


# Divergences of fields ----------------------------------------------------------------------------------------------


def rademacher(count: int, noise: torch.Generator, like: Tensor) -> Tensor:
    """Probes of ±1, (count, *like.shape): E v v^T = I, with the lowest variance of v^T A v among independent
    entries."""
    bits = torch.randint(0, 2, (count, *like.shape), generator=noise)
    return (2 * bits - 1).to(like.device, like.dtype)


def basis(like: Tensor) -> Tensor:
    """Probes e_1 .. e_d sqrt(d), whose mean of v v^T is exactly I: (d, *like.shape), d = the numbers in a row of
    ``like`` (B, ...)."""
    d = like[0].numel()
    eye = torch.eye(d, dtype=like.dtype, device=like.device) * d**0.5
    return eye.view(d, 1, *like.shape[1:]).expand(d, *like.shape)


def curvatures(field: Field, x: Tensor, probes: Tensor, *, train: bool = False) -> tuple[Tensor, Tensor]:
    """f(x) (B, ...) and v_k^T (df/dx) v_k (K, B), one backward pass a probe; probes (K, B, ...).

    The mean over probes with E v v^T = I is the divergence tr df/dx: exactly for `basis`, by chance for `rademacher`
    (Hutchinson 1989). ``train`` keeps the graph, so that the outcome can be differentiated by what the field is made
    of.
    """
    with torch.enable_grad():
        x = x if train and x.requires_grad else x.detach().requires_grad_()
        value = field(x)
        rows = [_row(value, x, v, train) for v in probes]
    return (value if train else value.detach()), torch.stack(rows)


def _row(value: Tensor, x: Tensor, v: Tensor, train: bool) -> Tensor:
    if not value.requires_grad:  # a constant field
        return x.new_zeros(len(x))
    (pulled,) = torch.autograd.grad(
        value, x, v, retain_graph=True, create_graph=train, materialize_grads=True
    )  # (df/dx)^T v
    return (pulled * v).flatten(1).sum(1)


# The losses ---------------------------------------------------------------------------------------------------------


def explicit(score: Field, x: Tensor, truth: Tensor) -> Tensor:
    """E |s(x) - grad log p(x)|^2 / 2, for a p whose score is known; x, truth (B, ...)."""
    return 0.5 * (score(x) - truth).square().flatten(1).sum(1).mean()


def implicit(score: Field, x: Tensor) -> Tensor:
    """E [div s + |s|^2 / 2], the divergence exactly: d backward passes for x of d numbers a row (Hyvärinen 2005,
    equation 4)."""
    return sliced(score, x, basis(x), reduced=True)


def sliced(score: Field, x: Tensor, probes: Tensor, *, reduced: bool) -> Tensor:
    """E [v^T (ds/dx) v + (v . s)^2 / 2], or with |s|^2 for (v . s)^2: the form of reduced variance (Song et al. 2019,
    eqs. 7 and 8).

    x (B, ...), probes (K, B, ...) with E v v^T = I, e.g. `rademacher`.
    """
    value, bent = curvatures(score, x, probes, train=True)  # (B, ...), (K, B)
    square = (
        value.square().flatten(1).sum(1) if reduced else (value * probes).flatten(2).sum(2).square()
    )  # (B,) or (K, B)
    return (bent + 0.5 * square).mean()


def denoising(score: Field, x0: Tensor, eps: Tensor, alpha: float, sigma: float) -> Tensor:
    """E |s(alpha x_0 + sigma eps) + eps / sigma|^2 / 2; x0, eps (B, ...), sigma > 0 (Vincent 2011, equation 9)."""
    return explicit(score, alpha * x0 + sigma * eps, -eps / sigma)


# Denoisers are scores -----------------------------------------------------------------------------------------------


def score_of(denoise: Denoise, schedule: Schedule, x: Tensor, t: Tensor) -> Tensor:
    """grad log p_t(x_t) = (alpha E[x_0 | x_t] - x_t) / sigma^2, (B, ...); t (B,) > 0.

    The mean over x_0 | x_t of grad log q(x_t | x_0) = (alpha x_0 - x_t) / sigma^2 (Tweedie; Robbins 1956, Efron 2011).
    """
    alpha, sigma = (c.to(x.dtype).view(-1, *[1] * (x.ndim - 1)) for c in schedule(t))
    return (alpha * denoise(x, t).x0 - x) / sigma.square()


@dataclass(frozen=True, kw_only=True)
class ScoreMatching:
    """E_t lambda(t) |s(x_t, t) + eps / sigma_t|^2 with lambda = sigma_t^2, a mean over times and numbers (Song et al.
    2021, equation 7).

    The weight makes every time weigh alike, for E |eps / sigma|^2 grows as 1 / sigma^2. The model is a Denoiser of any
    parametrisation; its score is (alpha E[x_0 | x_t] - x_t) / sigma^2, so that the loss is |e(x_t) - eps|^2. The batch
    is (x_0, Conditioning).

    Args:
        times: (count, noise) -> (count,) in (0, 1).
    """

    times: Callable[[int, torch.Generator], Tensor] = uniform

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Conditioning], noise: torch.Generator
    ) -> dict[str, Tensor]:
        assert isinstance(model, Denoiser)
        x0, cond = batch
        t, eps = self.times(len(x0), noise).to(x0.device), randn(tuple(x0.shape), noise, x0)
        x = model.noisy(x0, eps, t)
        score = score_of(lambda x, t: model(x, t, cond), model.schedule, x, t)
        sigma = model.schedule(t)[1].to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        return {"loss": (sigma * score + eps).float().square().mean()}
