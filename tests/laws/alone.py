"""Each picture of a batch by itself."""

import torch
from torch import Tensor

from danqing.types import Denoise, Denoised, merge


def singly(*denoises: Denoise) -> Denoise:
    """Evaluate each picture of a batch on its own, so that a batch of n equals n singles byte for byte.

    Kernel libraries pick their order of summation by shape, so one call for all pictures rounds differently than one
    call for each.
    """

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        every = denoises if len(denoises) == len(x) else denoises * len(x)
        # clone: a slice may start at an address of another alignment, and kernels may choose by that too
        answers = (one(x[i : i + 1].clone(), t[i : i + 1].clone()) for i, one in enumerate(every))
        return merge(lambda *rows: torch.cat(rows), *answers)

    return denoise
