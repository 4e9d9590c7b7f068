"""Last layers in closed form: what comes before them is kept, and of all linear maps of it the best one is taken.

    W = (X^T X + ridge I)^-1 X^T Y,      rows of X are features (and 1, for the bias), rows of Y what is asked of them

A layer that thousands of steps would have to find is found by one pass over the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.learn.objectives.draws import randn, uniform
from danqing.nets.drafted import Draft, ResidualUNet
from danqing.noise import keyed


class Fit:
    """The normal equations of a layer, row by row.

    Args:
        inputs, outputs: the widths of X (without its 1) and Y.
    """

    def __init__(self, inputs: int, outputs: int):
        self.xx = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self.xy = torch.zeros(inputs + 1, outputs, dtype=torch.float64)

    def add(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        """Rows x (N, inputs), y (N, outputs), and what the square of each one's error counts, (N, 1)."""
        x = F.pad(x, (0, 1), value=1.0)
        weighted = x if weight is None else x * weight
        self.xx += (weighted.T @ x).double().cpu()
        self.xy += (weighted.T @ y).double().cpu()

    def solve(self, ridge: float = 1e-4) -> tuple[Tensor, Tensor]:
        """Weight (outputs, inputs) and bias (outputs,); ``ridge`` is in parts of the features' mean square."""
        with_ridge = self.xx + ridge * self.xx.diagonal().mean() * torch.eye(len(self.xx), dtype=self.xx.dtype)
        found = torch.linalg.solve(with_ridge, self.xy).float()
        return found[:-1].T, found[-1]


@torch.inference_mode()
def fit_draft(draft: Draft, seen: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Begin a draft of random features, and fit its last layer: kernel regression from the text's summary (Rahimi &
    Recht 2007, "Random features for large-scale kernel machines").

    The first layer mixes the whitened summary, each block adds `silu` of random mixtures of it.

    Args:
        draft: with a body.
        seen: latents (B, C, S, S) and summaries (B, P).
    """
    pooled = torch.cat([summary for _, summary in seen])
    mean, std = pooled.mean(0), pooled.std(0).clamp_min(1e-6)
    first, *blocks, _ = cast("Any", draft.body)
    width = first.out_features
    first.weight.copy_(torch.randn(first.weight.shape) / first.in_features**0.5 / std.cpu())
    first.bias.copy_(-first.weight @ mean)
    for block in blocks:
        block.up.weight.normal_(std=1.5 / width**0.5)
        block.up.bias.normal_(std=0.5)
        nn.init.eye_(block.down.weight).mul_(2.0)
    fit = Fit(width, draft.linear.out_features)
    for x0, summary in seen:
        fit.add(draft.body(summary), x0.flatten(1))
    found, bias = fit.solve(ridge=3e-3)
    draft.linear.weight.copy_(found)
    draft.linear.bias.copy_(bias)


@torch.inference_mode()
def fit_residual(model: nn.Module, batches: Callable[[int], tuple[Tensor, Tensor]], count: int = 4) -> None:
    """Measure the deviation of what a `ResidualUNet`'s draft leaves open, rounded so that bfloat16 holds it, and fit
    its last convolution to ``count`` batches; errors count as those of the flow do, s² / n².

    Args:
        model: as `experiments.painter.Spoken`: a denoiser of such a network, and ``condition``.
        batches: index -> (latents, token ids).
    """
    denoiser, condition = cast("Any", model.denoiser), cast("Any", model.condition)
    net, schedule = denoiser.net, denoiser.schedule
    assert isinstance(net, ResidualUNet) and net.conv_out.bias is not None
    seen = [(x0, condition(ids)) for x0, ids in map(batches, range(count))]
    open_ = torch.cat([x0 - net.drafted(x0, said.pooled) for x0, said in seen])
    net.residual_std.copy_(open_.std().bfloat16().float())
    features: list[Tensor] = []
    hook = net.conv_out.register_forward_pre_hook(lambda layer, inputs: features.append(inputs[0]))
    weight, fit = net.conv_out.weight, Fit(net.conv_out.weight[0].numel(), len(net.conv_out.weight))
    for i, (x0, said) in enumerate(seen):
        noise = keyed("fit", i)
        t = uniform(len(x0), noise).to(x0.device)
        eps, (alpha, sigma) = randn(tuple(x0.shape), noise, x0), (v.view(-1, 1, 1, 1) for v in schedule(t))
        denoiser.predict(alpha * x0 + sigma * eps, t, said)
        draft, s = net.drafted(x0, said.pooled), net.residual_std
        n = (alpha.square() * s.square() + sigma.square()).sqrt()
        asked = (sigma * (x0 - draft) - alpha * s.square() * eps) / (s * n)
        rows = F.unfold(features.pop().float(), weight.shape[2:], padding=1).mT.flatten(0, 1)
        cells = x0[0, 0].numel()
        fit.add(rows, asked.movedim(1, -1).flatten(0, 2), (s / n).square().repeat(1, cells, 1, 1).view(-1, 1))
    hook.remove()
    found, bias = fit.solve()
    weight.copy_(found.view_as(weight))
    net.conv_out.bias.copy_(bias)
