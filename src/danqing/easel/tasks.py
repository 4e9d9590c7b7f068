"""What a denoiser reads beside the noisy latent, by what it was trained for: one explicit table, `TASKS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..types import Conditioning
from .request import Request, settled

if TYPE_CHECKING:
    from .painter import Painter

Terms = tuple[tuple[Conditioning, float], ...]


@dataclass(frozen=True)
class Beside:
    """The channels that stand beside the latent, and how guidance counts with them; without channels, neither.

    Args:
        shown: (1, C, h, w), beside the latent of every term.
        hidden: (1, C, h, w), beside the latent of the base, where guidance also leads towards the picture; None for
            ``shown``.
        keep: how strongly it does.
    """

    shown: Tensor | None = None
    hidden: Tensor | None = None
    keep: float = 1.0

    def guided(self, terms: Terms, base: Conditioning) -> tuple[Terms, Conditioning]:
        """Terms and base with their channels.

        Where the picture is hidden from the base, ``x_0 = d(∅, ∅) + s_I (d(∅, I) - d(∅, ∅)) + s_T (d(T, I) - d(∅,
        I))``, which is the terms (T, I) of weight s_T and (∅, I) of weight s_I - s_T (Brooks et al. 2022,
        InstructPix2Pix, equation 3).
        """
        if self.shown is None:
            return terms, base
        seen = tuple((replace(heard, concat=self.shown), weight) for heard, weight in terms)
        if self.hidden is None:
            return seen, replace(base, concat=self.shown)
        more = (replace(base, concat=self.shown), self.keep - sum(weight for _, weight in terms))
        return (*seen, more), replace(base, concat=self.hidden)


NOTHING = Beside()

#: (painter, request, the picture at the size painted, which cells may change (1, 1, h, w)) -> what stands beside.
Task = Callable[["Painter", Request, "Image.Image | None", "Tensor | None"], Beside]


def nothing(painter: Painter, request: Request, picture: Image.Image | None, free: Tensor | None) -> Beside:
    """A denoiser that reads the latent alone."""
    return NOTHING


def inpainting(painter: Painter, request: Request, picture: Image.Image | None, free: Tensor | None) -> Beside:
    """The mask and the latent of the picture that is grey where the mask is; without a mask all may change, and all is
    grey.

    Source: Rombach et al. 2022, section 4.5, and the published weights, which read (noisy 4, mask 1, masked picture 4).
    """
    if picture is None or free is None:
        free = painter.blank(request)[:, :1] + 1
        shown = torch.zeros(1, 3, settled(request.height), settled(request.width))
    else:
        cells = F.interpolate(free.cpu(), (picture.height, picture.width))  # (1, 1, H, W)
        shown = painter.levels(picture) * (1 - cells)
    return Beside(torch.cat([free, painter.encode_levels(shown)], 1))


def instruct(painter: Painter, request: Request, picture: Image.Image | None, free: Tensor | None) -> Beside:
    """The picture's latent, unscaled; the base does not see it (Brooks et al. 2022, section 3.2)."""
    latent = painter.blank(request) if picture is None else painter.encode_image(picture) / painter.codec.scale
    return Beside(latent, torch.zeros_like(latent), 1.5 if request.image_scale is None else request.image_scale)


#: By `danqing.weights.kinds.Kind.task`.
TASKS: Mapping[str, Task] = {"": nothing, "inpainting": inpainting, "instruct-pix2pix": instruct}
