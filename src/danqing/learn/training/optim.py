"""Muon: steepest descent of matrices under the spectral norm; AdamW for all that is no hidden matrix."""

# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

#: Of the quintic a x + b x^3 + c x^5: the steepest slope at zero that still converges to a band around one.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(g: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """The nearest semi-orthogonal matrix to each of ``g`` (..., m, n), nearly: U V^T of its SVD, singular values in
    about [0.7, 1.2].

    Newton-Schulz iteration X <- a X + (b A + c A^2) X with A = X X^T and a, b, c of `QUINTIC` (Jordan et al. 2024,
    "Muon").

    Args:
        g: (..., m, n), any scale.
        dtype: what the iteration computes in; None is that of ``g``, which the answer always has.
    """
    # float16 has no number under 6e-8, where gradients may lie: they are brought to size before they enter it.
    x = g.float() / (length(g.float()) + 1e-30) if dtype == torch.float16 else g
    x = x.to(dtype or g.dtype).reshape(-1, *g.shape[-2:])
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (length(x) + 1e-7)
    # By its Gram matrix a wide one costs a fourth, but half precision does not hold the squares of its singular values.
    iterate = _by_gram if 2 * x.shape[1] < 3 * x.shape[2] and x.dtype.itemsize > 2 else _directly
    x = iterate(x, steps)
    return (x if wide else x.mT).to(g.dtype).view(g.shape)


def _directly(x: Tensor, steps: int) -> Tensor:
    """Newton-Schulz of wide matrices (k, m, n): 4 m² n + 2 m³ operations a step."""
    a, b, c = QUINTIC
    for _ in range(steps):
        xxt = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(xxt, xxt, xxt, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram(x: Tensor, steps: int) -> Tensor:
    """The same on the Gram matrix alone, 8 m³ operations a step: each X is P X_0, P a polynomial of A_0 = X_0 X_0^T,
    so that A <- Q A Q and P <- Q P with Q = a + b A + c A²."""
    a, b, c = QUINTIC
    xxt, whole = x @ x.mT, torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
    for _ in range(steps):
        q = torch.baddbmm(xxt, xxt, xxt, beta=b, alpha=c)
        q.diagonal(dim1=1, dim2=2).add_(a)
        xxt, whole = q @ xxt @ q, q @ whole
    return whole @ x


def length(x: Tensor) -> Tensor:
    """The Frobenius norm of each matrix, (..., m, n) -> (..., 1, 1)."""
    return x.norm(dim=(-2, -1), keepdim=True)


class Muon(Optimizer):
    """Momentum whose update is orthogonalised, matrix by matrix; AdamW for the groups that say ``muon=False``.

    M <- mu M + G;  W <- (1 - lr wd) W - lr sqrt(max(1, m/n)) NS(G + mu M)

    A convolution (out, in, h, w) counts as the matrix (out, in h w). Source: Jordan et al. 2024; AdamW: Loshchilov &
    Hutter 2019.

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
        slopes, (momenta,) = self._remembered(parameters, "momentum")
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, slopes)
        matrices = [g.flatten(1) for g in torch._foreach_add(slopes, momenta, alpha=group["momentum"])]  # each (m, n)
        for (m, n), places in alike(matrices).items():
            moves = orthogonalise(torch.stack([matrices[i] for i in places]), dtype=self.dtype)  # (k, m, n)
            some = [parameters[i] for i in places]
            moves = [move.view_as(p) for move, p in zip(moves, some, strict=True)]
            torch._foreach_add_(some, moves, alpha=-rate * max(1.0, m / n) ** 0.5)

    def _adam(self, parameters: list[Tensor], group: dict, rate: float) -> None:
        beta1, beta2 = group["betas"]
        slopes, (first, second) = self._remembered(parameters, "first", "second")
        counts = []
        for p in parameters:
            self.state[p]["step"] = self.state[p].get("step", torch.zeros((), dtype=torch.float32)) + 1
            counts.append(float(self.state[p]["step"]))
        torch._foreach_lerp_(first, slopes, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, slopes, slopes, value=1 - beta2)
        scales = torch._foreach_div(second, [1 - beta2**count for count in counts])
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, group["eps"])
        torch._foreach_addcdiv_(parameters, first, scales, [-rate / (1 - beta1**count) for count in counts])

    def _remembered(self, parameters: list[Tensor], *names: str) -> tuple[list[Tensor], list[list[Tensor]]]:
        """The gradients, and of each name what the state holds for each parameter, zeros at first."""
        for p in parameters:
            for name in names:
                if name not in self.state[p]:
                    self.state[p][name] = torch.zeros_like(p)
        return [p.grad for p in parameters if p.grad is not None], [
            [self.state[p][name] for p in parameters] for name in names
        ]


def alike(matrices: list[Tensor]) -> dict[torch.Size, list[int]]:
    """The places of the matrices of each shape."""
    places: dict[torch.Size, list[int]] = {}
    for i, matrix in enumerate(matrices):
        places.setdefault(matrix.shape, []).append(i)
    return places


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
