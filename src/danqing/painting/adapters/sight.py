"""What an adapter is told of an image prompt's pictures, by an image tower, a recogniser of faces, or both: tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from ...codec import Codec
from ...errors import InvalidInput
from ...levels import from_arrays
from ...nets.drafted import Share
from ...nets.ip_adapter import KEEPERS, IPAdapter
from ...pictures import read as pictures
from ...request.image_prompt import ImagePrompt
from ...request.request import Resolved
from . import towers
from .attachment import Target, Warn

#: Of a request at the size that is painted, the share in its draft of no picture, or of the one to keep away from, and
#: that of the picture.
Drafts = Callable[[Resolved], tuple[Share, Share]]

if TYPE_CHECKING:
    from .faces.reading import Seen


class Tokens(NamedTuple):
    """Those of no picture, or of the one to keep away from, and those of the picture, (2, N, D); the files through
    which they were seen; and what is added to the text's summary for each, (2, P), None where nothing is."""

    tokens: Tensor
    files: tuple[Path, ...]
    summary: Tensor | None = None


@torch.inference_mode()
def tokens(net: IPAdapter, prompt: ImagePrompt, adapter: str, warn: Warn) -> Tokens:
    """What an image prompt's pictures become.

    Args:
        adapter: its name, for messages.

    Raises:
        InvalidFile: what it sees through is not there or does not fit, or a picture cannot be read.
        InvalidInput: no face in a picture where one is read, or an adapter that keeps faces otherwise.
    """
    if net.config.kind in KEEPERS:
        raise InvalidInput(f"{adapter} keeps a face and is no image prompt's adapter: --face")
    reads, config, files = net.image_proj, net.config, list[Path]()
    images = [pictures.over_white(pictures.picture(each)) if each else None for each in (prompt.negative, prompt.image)]
    people = None
    if reads.faces:
        from .faces.reading import require  # which loads what finds faces

        files.append(require(config, prompt.faces, adapter))
        found = [_face(image, files[0], config.face, warn) for image in images]
        images = [None if face is None else face.crop for face in found]
        numbers = [torch.zeros(1, config.face) if face is None else face.numbers for face in found]
        people = torch.cat([F.normalize(each) if reads.unit else each for each in numbers])
    said = None
    if reads.tower:
        tower = towers.tower_of(reads.tower, config.seen, prompt.tower, adapter)
        kind = towers.kind_of(tower)
        files.extend(kind.files(tower))
        shown = (_fitted(image, prompt.fit, kind, warn) for image in images)
        said = torch.cat([towers.says(tower, reads.tower, image) for image in shown])
    return Tokens(net(said, people), tuple(files), reads.summary(said))


def drafts(net: IPAdapter, prompt: ImagePrompt, target: Target) -> Drafts | None:
    """What an image prompt's pictures have of the draft; None where the adapter makes no drafts."""
    if not net.config.drawn:
        return None
    unet: Any = target.nets["denoiser"]
    return partial(_drafts, net, prompt, target.codec, unet.config.draft_size, next(unet.parameters()).device)


@torch.inference_mode()
def _drafts(
    net: IPAdapter, prompt: ImagePrompt, codec: Codec, side: int, device: torch.device, request: Resolved
) -> tuple[Share, Share]:
    """Drafts lie over all of the picture, whatever its ratio, as those of the text do."""
    weight = torch.full((1, 1, side, side), prompt.weight)
    if prompt.mask:
        weight = weight * region(prompt.mask, (side, side))
    found = list[Share]()
    for source in (prompt.negative, prompt.image):
        picture = torch.zeros(1, net.config.drawn, side, side)
        if source:
            made = net.image_proj.draft(latent(source, request, codec, side, device, prompt.fit))
            assert made is not None
            picture = made
        found.append(Share((weight if source else 0 * weight).to(device), picture.to(device)))
    return found[0], found[1]


@torch.inference_mode()
def latent(source: str, request: Resolved, codec: Codec, side: int, device: torch.device, fit: str = "whole") -> Tensor:
    """A picture in the ratio of what is painted, on a grid of side² cells, (1, C, side, side), on the processor.

    Args:
        fit: "whole" is all of it, on white; "crop" its middle.
    """
    size, sides = (request.width, request.height), side * codec.factor
    image = pictures.over_white(pictures.picture(source))
    image = ImageOps.fit(image, size) if fit == "crop" else ImageOps.pad(image, size, color="white")
    levels = from_arrays(np.asarray(image.resize((sides, sides), Image.Resampling.LANCZOS))[None])
    return codec.encode(levels.to(device)).to("cpu", torch.float32)


def region(source: str, size: tuple[int, int]) -> Tensor:
    """Where a picture counts, (1, 1, H, W) in [0, 1] of a size (W, H)."""
    return torch.from_numpy(np.asarray(pictures.shades(source, size), np.float32) / 255)[None, None]


def _fitted(image: Image.Image | None, fit: str, kind: towers.Kind, warn: Warn) -> Image.Image | None:
    """A picture as a tower of a kind is to see it."""
    if image is None or image.width == image.height:
        return image
    if fit == "crop":
        warn(f"of the picture of {image.width}×{image.height} of an image prompt its middle square was seen.")
        return image
    return kind.square(image)


def _face(image: Image.Image | None, file: Path, width: int, warn: Warn) -> Seen | None:
    from .faces.reading import chosen, seen

    return None if image is None else seen(image, chosen(image, 0, warn), file, width)
