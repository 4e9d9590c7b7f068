"""What a denoiser reads beside the noisy latent, by what it was trained for: one explicit table, `TASKS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...request.request import Resolved
from ..painter import Painter
from ..say import NOTHING, Beside

#: (painter, request, the picture at the size painted, which cells may change (1, 1, h, w)) -> what stands beside.
Task = Callable[[Painter, Resolved, Image.Image | None, Tensor | None], Beside]


def nothing(painter: Painter, request: Resolved, picture: Image.Image | None, free: Tensor | None) -> Beside:
    """A denoiser that reads the latent alone."""
    return NOTHING


def inpainting(painter: Painter, request: Resolved, picture: Image.Image | None, free: Tensor | None) -> Beside:
    """The mask and the latent of the picture that is grey where the mask is; without a mask all may change, and all is
    grey.

    Source: Rombach et al. 2022, section 4.5, and the published weights, which read (noisy 4, mask 1, masked picture 4).
    """
    if picture is None or free is None:
        free = painter.blank(request)[:, :1] + 1
        masked = torch.zeros(1, 3, request.height, request.width)
    else:
        cells = F.interpolate(free.cpu(), (picture.height, picture.width))  # (1, 1, H, W)
        masked = painter.levels(picture) * (1 - cells)
    return Beside(torch.cat([free, painter.encode_levels(masked)], 1))


def instruct(painter: Painter, request: Resolved, picture: Image.Image | None, free: Tensor | None) -> Beside:
    """The picture's latent, unscaled; the base does not see it (Brooks et al. 2022, section 3.2)."""
    latent = painter.blank(request) if picture is None else painter.encode_image(picture) / painter.codec.scale
    return Beside(latent, torch.zeros_like(latent), request.guidance.image_scale)


#: By `danqing.weights.kinds.Kind.task`.
TASKS: Mapping[str, Task] = {"": nothing, "inpainting": inpainting, "instruct-pix2pix": instruct}


def beside(
    painter: Painter, request: Resolved, picture: Image.Image | None = None, free: Tensor | None = None
) -> Beside:
    """What the task of the painter's model has it read beside the latent; the picture at the size painted, free
    (1, 1, h, w) of 0 and 1."""
    return TASKS[painter.model.task](painter, request, picture, free)
