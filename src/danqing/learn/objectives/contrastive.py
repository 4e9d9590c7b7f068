"""The contrastive objective of CLIP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """The symmetric InfoNCE of unit vectors, (CE(scale I T^T) + CE(scale T I^T)) / 2, in nats (Radford et al. 2021,
    fig. 3).

    Args:
        image, text: (B, P), paired row by row, of unit length.
        scale: the inverse temperature, a scalar.
    """
    logits = scale * image @ text.T  # (B, B)
    labels = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
