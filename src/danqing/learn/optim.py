"""Muon: steepest descent of matrices under the spectral norm; AdamW for all that is no hidden matrix."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def orthogonalise(g: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """The nearest semi-orthogonal matrix to ``g`` (m, n), nearly: U V^T of its SVD with singular values in about [0.7, 1.2].

    Newton-Schulz iteration X <- a X + (b A + c A^2) X with A = X X^T, whose quintic (a, b, c) = (3.4445, -4.7750, 2.0315)
    has the steepest slope at zero that still converges to a band around one (Jordan et al. 2024, "Muon").

    Args:
        g: (m, n), any scale.
        dtype: what the iteration computes in; None is that of ``g``, which the answer always has.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    # float16 has no number under 6e-8, where gradients may lie: they are brought to size before they enter it.
    x = g.float() / (g.float().norm() + 1e-30) if dtype == torch.float16 else g
    x = x.to(dtype or g.dtype)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        xxt = x @ x.T
        x = torch.addmm(x, torch.addmm(xxt, xxt, xxt, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(g.dtype)


class Muon(Optimizer):
    """Momentum whose update is orthogonalised, matrix by matrix; AdamW for the groups that say ``muon=False``.

    M <- mu M + G;  W <- (1 - lr wd) W - lr sqrt(max(1, m/n)) NS(G + mu M)

    A convolution (out, in, h, w) counts as the matrix (out, in h w). Source: Jordan et al. 2024; AdamW: Loshchilov & Hutter 2019.

    Args:
        groups: parameter groups; each may set ``muon`` (bool), ``lr``, ``weight_decay``.
        momentum: mu in [0, 1).
        betas, eps: of AdamW.
        dtype: what Newton-Schulz computes in: the fast precision of the machine; None is the gradient's own.
    """

    def __init__(
        self,
        groups: Iterable[dict],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(
            list(groups),
            dict(lr=lr, momentum=momentum, betas=betas, eps=eps, weight_decay=weight_decay, muon=True, scale=1.0),
        )
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure=None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            rate = group["lr"] * group["scale"]
            if group["weight_decay"]:
                for p in parameters:
                    p.mul_(1 - rate * group["weight_decay"])
            (self._muon if group["muon"] else self._adam)(parameters, group, rate)

    def _muon(self, parameters: list[Tensor], group: dict, rate: float) -> None:
        for p in parameters:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            assert p.grad is not None
            velocity = state["momentum"].mul_(group["momentum"]).add_(p.grad)
            g = p.grad.add(velocity, alpha=group["momentum"]).reshape(p.shape[0], -1)  # (m, n)
            g = orthogonalise(g, dtype=self.dtype)
            p.add_(g.view(p.shape), alpha=-rate * max(1.0, g.shape[0] / g.shape[1]) ** 0.5)

    def _adam(self, parameters: list[Tensor], group: dict, rate: float) -> None:
        beta1, beta2 = group["betas"]
        for p in parameters:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["first"], state["second"] = torch.zeros_like(p), torch.zeros_like(p)
            assert p.grad is not None
            state["step"] += 1
            count = float(state["step"])
            state["first"].lerp_(p.grad, 1 - beta1)
            state["second"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            scale = (state["second"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
            p.addcdiv_(state["first"], scale, value=-rate / (1 - beta1**count))


def muon_groups(
    model: nn.Module, *, lr: float, adam_lr: float, weight_decay: float = 0.0, edges: Iterable[str] = ()
) -> list[dict]:
    """Split a model: hidden matrices to Muon; vectors, embeddings and the named first and last layers to AdamW.

    Args:
        edges: beginnings of the names of the layers that meet the data, e.g. "conv_in".
    """
    matrices, others = [], []
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    first = tuple(edges)
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        hidden = p.ndim >= 2 and id(p) not in embeddings and not (first and name.startswith(first))
        (matrices if hidden else others).append(p)
    return [
        dict(params=matrices, lr=lr, muon=True, weight_decay=weight_decay),
        dict(params=others, lr=adam_lr, muon=False, weight_decay=0.0),
    ]
