"""Which tensors a kernel may be handed by their addresses, and how far an answer is from the truth."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def plain(*tensors: Tensor) -> bool:
    """Whether memory of the CPU is all that these tensors are: no gradient is wanted, nothing is traced, no subclass
    computes in its own way, and autocast asks for no other precision."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    watched = torch.is_grad_enabled()
    for x in tensors:
        if (type(x) is not Tensor and type(x) is not nn.Parameter) or not x.is_cpu or x.layout != torch.strided:
            return False
        if watched and x.requires_grad:
            return False
    return True


def distance(ours: Tensor, theirs: Tensor, exact: Tensor, rounding: float) -> float:
    """How far ours is from the exact answer, in units of how far torch's own of the same precision is.

    The unit is ``rounding`` at least, what one rounding on the way may do to the answer: torch may be exact by luck.
    """
    wrong, own = (float((x.double() - exact).abs().max()) for x in (ours, theirs))
    return wrong / max(own, rounding)
