"""What an adapter is told of an image prompt's pictures, by an image tower, a recogniser of faces, or both: tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...errors import InvalidInput
from ...nets.ip_adapter import KEEPERS, IPAdapter
from ...pictures import read as pictures
from ...request.image_prompt import ImagePrompt
from . import towers
from .attachment import Warn

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
