"""Guidance: estimates under several conditionings combined into one Denoise, and wrappers of Denoise -> Denoise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .errors import InvalidInput
from .types import Conditioning, Denoise, Denoised, merge

#: A Denoiser, or anything called like one: (x_t, t, cond) -> E[x_0 | x_t, cond].
Conditioned = Callable[[Tensor, Tensor, Conditioning], Denoised]


def compose(denoiser: Conditioned, terms: Sequence[tuple[Conditioning, float]], base: Conditioning) -> Denoise:
    """x_0 = d(base) + sum_i w_i (d(cond_i) - d(base)), all estimates of a step in one batched call.

    One term is classifier-free guidance of scale w (Ho & Salimans 2022), and ``base`` the empty or the negative
    prompt; several are composable diffusion, a negative weight turning away (Liu et al. 2022). Where the weights sum
    to 1 the base cancels and is not computed: one term of weight 1 is guidance off. No term, or only weights of 0,
    is the base alone. The variance is that of the last term, or of the base alone: extrapolated, it would leave its
    bounds.

    Args:
        denoiser: (x_t, t, cond) -> E[x_0 | x_t, cond].
        terms: (conditioning, weight); each conditioning holds one picture, or as many as the batch.
        base: what the weights count from.

    Raises:
        InvalidInput: a weight that is not a finite number.
    """
    if not all(math.isfinite(w) for _, w in terms):
        raise InvalidInput(f"guidance weights are {[w for _, w in terms]}: each must be finite, 1 is guidance off")
    terms = [(cond, w) for cond, w in terms if w != 0]
    weights = [w for _, w in terms]
    needed = ([] if math.fsum(weights) == 1 else [base]) + [cond for cond, _ in terms]
    n, stacks = len(needed), dict[int, Conditioning]()

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        batch = len(x)
        if batch not in stacks:  # the stack is the same in every step
            first, *rest = (cond.expand(batch) for cond in needed)
            stacks[batch] = first.cat(*rest) if rest else first
        answer = denoiser(torch.cat([x] * n), torch.cat([t] * n), stacks[batch])
        every = answer.x0.chunk(n)  # n of (B, C, H, W)
        variance = None if answer.variance is None else answer.variance[-batch:]
        parts = list(zip(every[n - len(weights) :], weights, strict=True))
        if n == len(weights):
            total, away = parts[0][0] * parts[0][1], None
            for estimate, w in parts[1:]:
                total = total + estimate * w
        else:
            total = away = every[0]
            for estimate, w in parts:
                total = total + (estimate - away) * w
        return Denoised(total, _towards(parts), away, variance)

    return denoise


def _towards(parts: Sequence[tuple[Tensor, float]]) -> Tensor | None:
    """The mean of the estimates of positive weight, by their weights."""
    positive = [(estimate, w) for estimate, w in parts if w > 0]
    total = sum(w for _, w in positive)
    return torch.stack([estimate * (w / total) for estimate, w in positive]).sum(0) if positive else None


def rescaled(guided: Denoise, amount: float) -> Denoise:
    """x_0 (amount std(cond) / std(x_0) + 1 - amount) for guided estimates x_0, whose excess of deviation at high scales
    burns the picture (Lin et al. 2023, section 3.4, here on x_0); ``amount`` in [0, 1], 0 off.

    Raises:
        InvalidInput: another amount.
    """
    if not 0 <= amount <= 1:
        raise InvalidInput(f"guidance rescale is {amount}: give a number from 0, off, to 1")

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        if found.cond is None:
            return found
        x0, axes = found.x0, tuple(range(1, x.ndim))
        wide = torch.promote_types(x0.dtype, torch.float32)  # 1e-12 is 0 in float16
        ratio = found.cond.to(wide).std(axes, keepdim=True) / x0.to(wide).std(axes, keepdim=True).clamp_min(1e-12)
        return found._replace(x0=(x0 * (amount * ratio + (1 - amount))).to(x0.dtype))

    return denoise if amount else guided


def interval(guided: Denoise, plain: Denoise, low: float, high: float) -> Denoise:
    """Guidance only while low <= t <= high, the plain conditional estimate outside (Kynkäänniemi et al. 2024).

    For limits in noise levels, turn them into times with ``schedule.time``.
    """
    if not 0 <= low <= high <= 1:
        raise InvalidInput(f"guidance interval is {low} to {high}: give 0 <= low <= high <= 1, 0 clean and 1 noise")

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        inside = (t >= low) & (t <= high)
        if inside.all():
            return guided(x, t)
        if not inside.any():
            return plain(x, t)
        return merge(partial(torch.where, inside.view(-1, *[1] * (x.ndim - 1))), guided(x, t), plain(x, t))

    return denoise
