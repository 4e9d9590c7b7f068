"""Drafts of things laid out in one picture. It stands alone: the default model's folder for diffusers holds it."""

import torch
import torch.nn.functional as F
from torch import Tensor


def laid(draft: Tensor, things: Tensor, places: Tensor) -> Tensor:
    """Drafts of things laid out in one: each cell is of the thing that is nearest in units of its size, whose draft is
    shrunk to that size and goes on beyond its edge.

        out(u) = draft_k((u - c_k) / s_k + 1/2),  k = argmin |u - c_k| / s_k

    The mean over 3 × 3 points of each cell, so that what shrinks is not sampled coarsely, in fp32 at least.

    Args:
        draft: of the whole, (B, C, S, S): the answer where no thing is placed.
        things: (B, K, C, S, S).
        places: where the centre of each is, across and down, and how large it is, all of the picture's side, (B, K, 3);
            one of size 0 is not there.
    """
    side, (batch, count) = draft.shape[-1], things.shape[:2]
    wide = torch.promote_types(things.dtype, torch.float32)
    places = places.to(wide)
    fine = (torch.arange(3 * side, dtype=wide, device=places.device) + 0.5) / (3 * side)
    at = torch.stack([fine.expand(3 * side, -1), fine[:, None].expand(-1, 3 * side)], -1)  # (3S, 3S, 2)
    centre, size = places[..., :2], places[..., 2]
    there = (at - centre[:, :, None, None]) / size.clamp(min=1e-3)[:, :, None, None, None]  # (B, K, 3S, 3S, 2)
    seen = F.grid_sample(
        things.flatten(0, 1).to(wide), 2 * there.flatten(0, 1), padding_mode="border", align_corners=False
    ).unflatten(0, (batch, count))
    far = there.square().sum(-1) + 1e4 * (size == 0)[:, :, None, None]
    nearest = F.one_hot(far.argmin(1), count).movedim(-1, 1).to(seen)  # (B, K, 3S, 3S)
    out = F.avg_pool2d((seen * nearest[:, :, None]).sum(1), 3)
    return torch.where((size > 0).any(1)[:, None, None, None], out.to(draft), draft)
