"""Dynamic thresholding: high scales drive an estimate out of the range of pictures; it is clipped, and drawn back into
it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..types import Denoise, Denoised
from .terms import led, wide


def dynamic(guided: Denoise, share: float, bound: float = 0.0) -> Denoise:
    """x_0 = clip(x_0, -s, s) bound / s, s = max(bound, the ``share`` quantile of |x_0|) over a picture's numbers.

    A latent has no bound: with 0 the same is done to each channel about its mean, whose bound is the farthest that the
    estimate led towards goes from its own mean. A share of 1 is ``guided`` itself. Source: Saharia et al. 2022, section
    2.3; of latents McMonkey 2023, Dynamic Thresholding for Stable Diffusion, whose mimicked scale is 1 here.

    Raises:
        InvalidInput: a share that is not above 0 and up to 1, or a bound below 0.
    """
    if not (0 < share <= 1 and bound >= 0):
        raise InvalidInput(
            f"dynamic: {share:g} of the bound {bound:g} was given; possible are above 0 to 1, and from 0"
        )

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        first = 1 if bound else 2  # the axis from which numbers count together
        x0, usual = (wide(one).flatten(first) for one in (found.x0, led(found)))
        middle = torch.zeros_like(x0[..., :1]) if bound else x0.mean(-1, keepdim=True)
        far = torch.full_like(middle, bound) if bound else _farthest(usual)
        reach = torch.maximum((x0 - middle).abs().quantile(share, -1, keepdim=True), far).clamp_min(1e-12)
        drawn = middle + (x0 - middle).clamp(-reach, reach) * (far / reach)
        return found._replace(x0=drawn.view(found.x0.shape).to(found.x0.dtype))

    return denoise if share < 1 else guided


def _farthest(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)).abs().amax(-1, keepdim=True)
