"""Guidance: estimates under several conditionings combined into one Denoise, and wrappers of Denoise -> Denoise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .errors import InvalidInput
from .types import Conditioning, Denoise

#: A Denoiser, or anything called like one: (x_t, t, cond) -> E[x_0 | x_t, cond].
Conditioned = Callable[[Tensor, Tensor, Conditioning], Tensor]


def compose(
    denoiser: Conditioned, terms: Sequence[tuple[Conditioning, float]], base: Conditioning, *, rescale: float = 0.0
) -> Denoise:
    """x_0 = d(base) + sum_i w_i (d(cond_i) - d(base)), all estimates of a step in one batched call.

    One term is classifier-free guidance of scale w (Ho & Salimans 2022), and ``base`` the empty or the negative
    prompt; several are composable diffusion, a negative weight turning away (Liu et al. 2022). Where the weights sum
    to 1 the base cancels and is not computed: one term of weight 1 is guidance off. No term, or only weights of 0,
    is the base alone.

    Args:
        denoiser: (x_t, t, cond) -> E[x_0 | x_t, cond].
        terms: (conditioning, weight); each conditioning holds one picture, or as many as the batch.
        base: what the weights count from.
        rescale: in [0, 1]; how far the standard deviation of the result, whose excess at high scales burns the picture,
            is drawn to that of the positive estimate (Lin et al. 2023, section 3.4, here on x_0).

    Raises:
        InvalidInput: a weight that is not a finite number, or a rescale outside [0, 1].
    """
    if not all(math.isfinite(w) for _, w in terms):
        raise InvalidInput(f"guidance weights are {[w for _, w in terms]}: each must be finite, 1 is guidance off")
    if not 0 <= rescale <= 1:
        raise InvalidInput(f"guidance rescale is {rescale}: give a number from 0, off, to 1")
    terms = [(cond, w) for cond, w in terms if w != 0]
    weights = [w for _, w in terms]
    needed = ([] if math.fsum(weights) == 1 else [base]) + [cond for cond, _ in terms]
    stacks: dict[int, Conditioning] = {}

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        batch = len(x)
        if batch not in stacks:  # the stack is the same in every step
            first, *rest = (cond.expand(batch) for cond in needed)
            stacks[batch] = first.cat(*rest) if rest else first
        n = len(needed)
        every = denoiser(torch.cat([x] * n), torch.cat([t] * n), stacks[batch]).chunk(n)  # n of (B, C, H, W)
        estimates = every[n - len(weights) :]
        if n == len(weights):
            total = estimates[0] * weights[0]
            for estimate, w in zip(estimates[1:], weights[1:], strict=True):
                total = total + estimate * w
        else:
            total = every[0]
            for estimate, w in zip(estimates, weights, strict=True):
                total = total + (estimate - every[0]) * w
        return _rescaled(total, list(zip(estimates, weights, strict=True)), rescale) if rescale else total

    return denoise


def _rescaled(guided: Tensor, parts: list[tuple[Tensor, float]], amount: float) -> Tensor:
    """guided (amount std(positive) / std(guided) + 1 - amount); positive: the weighted mean of terms with w > 0."""
    positive = [(estimate, w) for estimate, w in parts if w > 0]
    if not positive:
        return guided
    total = sum(w for _, w in positive)
    mean = torch.stack([estimate * (w / total) for estimate, w in positive]).sum(0)
    axes, wide = tuple(range(1, guided.ndim)), torch.promote_types(guided.dtype, torch.float32)  # 1e-12 is 0 in float16
    ratio = mean.to(wide).std(axes, keepdim=True) / guided.to(wide).std(axes, keepdim=True).clamp_min(1e-12)
    return (guided * (amount * ratio + (1 - amount))).to(guided.dtype)


def interval(guided: Denoise, plain: Denoise, low: float, high: float) -> Denoise:
    """Guidance only while low <= t <= high, the plain conditional estimate outside (Kynkäänniemi et al. 2024).

    For limits in noise levels, turn them into times with ``schedule.time``.
    """
    if not 0 <= low <= high <= 1:
        raise InvalidInput(f"guidance interval is {low} to {high}: give 0 <= low <= high <= 1, 0 clean and 1 noise")

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        inside = (t >= low) & (t <= high)
        if inside.all():
            return guided(x, t)
        if not inside.any():
            return plain(x, t)
        return torch.where(inside.view(-1, *[1] * (x.ndim - 1)), guided(x, t), plain(x, t))

    return denoise


def singly(*denoises: Denoise) -> Denoise:
    """Evaluate each picture of a batch on its own, so that a batch of n equals n singles byte for byte.

    Kernel libraries pick their order of summation by shape, so one call for all pictures rounds differently than one
    call for each. Give one Denoise for all, or one for each picture of the batch.
    """

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if len(denoises) not in (1, len(x)):
            raise ValueError(f"{len(denoises)} denoisers cannot serve {len(x)} pictures: give one, or one each")
        every = denoises if len(denoises) == len(x) else denoises * len(x)
        # clone: a slice may start at an address of another alignment, and kernels may choose by that too
        return torch.cat([one(x[i : i + 1].clone(), t[i : i + 1].clone()) for i, one in enumerate(every)])

    return denoise
