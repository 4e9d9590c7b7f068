"""What an image tower of CLIP says of given pictures: found among the user's models, and remembered.

Towers compute on the processor, in fp32: a picture is seen once, alike on every machine, and the memory of an
accelerator is left to the painter.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import DanqingError, InvalidFile, UnknownName
from ...nets.clip import IMAGE_MEAN, IMAGE_STD, CLIPVision
from ...store import library
from ...weights import store
from ...weights.load import load
from ...weights.registry import find
from ..latest import Latest

#: The field of a tower's config that tells how wide is what an adapter reads of it: its summary, or its tokens.
WIDTHS: Mapping[str, str] = {"projected": "projection_dim", "tokens": "hidden_size"}
#: The towers that the published adapters read: (what, how wide) -> name, and where it lies at h94/IP-Adapter.
PUBLISHED: Mapping[tuple[str, int], str] = {
    ("projected", 1024): "ViT-H/14, models/image_encoder/model.safetensors",
    ("tokens", 1280): "ViT-H/14, models/image_encoder/model.safetensors",
    ("projected", 1280): "ViT-bigG/14, sdxl_models/image_encoder/model.safetensors",
    ("tokens", 1664): "ViT-bigG/14, sdxl_models/image_encoder/model.safetensors",
}
#: How many answers are remembered.
REMEMBERED = 32
_seen = Latest[tuple[object, ...], Tensor](REMEMBERED)


def tower_of(what: str, width: int, given: str, adapter: str) -> Path:
    """The file of the tower that an adapter reads.

    Args:
        what: is read of it, a key of `WIDTHS`; so many numbers.
        given: its name or path; "" for the first that fits.

    Raises:
        UnknownName: there is none of the name. InvalidFile: it does not fit, or none is there that does.
    """
    known = library.towers()
    if given:
        path = Path(os.path.expanduser(given))
        if not path.is_file() and given not in known:
            raise UnknownName("image tower", given, (*known, "the path of a file"))
        path = path if path.is_file() else known[given]
        if (there := _width(path, what)) != width:
            raise InvalidFile(
                f"{path} says {there} numbers of a picture, and {adapter} reads {width}: {_wanted(what, width)}"
            )
        return path
    for path in known.values():
        try:
            if _width(path, what) == width:
                return path
        except DanqingError:  # a broken file, which is not asked for
            continue
    raise InvalidFile(f"{adapter} sees pictures through an image tower that is not there: {_wanted(what, width)}")


def _wanted(what: str, width: int) -> str:
    known = PUBLISHED.get((what, width))
    source = f"{known} of h94/IP-Adapter at the hub" if known else f"one whose {WIDTHS[what]} is {width}"
    return f"put the tower it was trained with ({source}) into the folder clip_vision of your models, or state tower"


def _width(path: Path, what: str) -> int:
    header = store.header(path)
    return find(header, "clip-vision").settle(header).values[WIDTHS[what]]


def says(path: Path, what: str, image: Image.Image | None) -> Tensor:
    """What a tower says of an RGB picture: its summary (1, S), or the tokens of its layer before the last (1, L, S). Of
    none, 0 as the summary, or the tokens of a picture that is the mean of all."""
    stamp = path.stat().st_mtime_ns
    key = (path, stamp, what, None if image is None else (image.size, hashlib.sha256(image.tobytes()).digest()))
    return _seen.get(key, lambda: _says(_tower(path, stamp), what, image))


@torch.inference_mode()
def _says(tower: CLIPVision, what: str, image: Image.Image | None) -> Tensor:
    size = tower.config.image_size
    pixels = torch.zeros(1, 3, size, size) if image is None else processed(image, size)
    said = tower(pixels, skip=1)
    if what == "tokens":
        return said.tokens
    assert said.projected is not None
    return said.projected if image is not None else torch.zeros_like(said.projected)


@lru_cache(maxsize=1)
def _tower(path: Path, stamp: int) -> CLIPVision:
    net = load(path, family="clip-vision", dtype=torch.float32)
    assert isinstance(net, CLIPVision)
    return net


def processed(image: Image.Image, size: int) -> Tensor:
    """An RGB picture as CLIP's towers are shown it, (1, 3, size, size): its shorter side made ``size`` by a bicubic
    that averages what becomes smaller, the middle square cut out, and normalised.

    Source: transformers' CLIPImageProcessor, to which it is equal.
    """
    width, height = (int(size * side / min(image.size)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, upper = ((side - size) // 2 for side in image.size)
    image = image.crop((left, upper, left + size, upper + size))
    levels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (IMAGE_MEAN, IMAGE_STD))
    return (levels - mean) / std


def square(image: Image.Image) -> Image.Image:
    """A picture in the middle of a square, where its border goes on: all of it is seen."""
    side = max(image.size)
    gaps = [(side - length) // 2 for length in image.size]
    pads = [(gap, side - length - gap) for gap, length in zip(gaps, image.size, strict=True)]
    return Image.fromarray(np.pad(np.asarray(image), (pads[1], pads[0], (0, 0)), mode="edge"))
