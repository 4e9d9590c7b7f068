"""What an image tower says of given pictures: one of CLIP, found among the user's models, or the one that ships.
What was said is remembered.

Towers compute on the processor, in fp32: a picture is seen once, alike on every machine, and the memory of an
accelerator is left to the painter.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from ... import installed
from ...errors import DanqingError, InvalidFile, UnknownName
from ...nets.clip import IMAGE_MEAN, IMAGE_STD, CLIPVision
from ...nets.eva import EVAVision
from ...store import library
from ...vision import tower
from ...weights import store
from ...weights.load import load
from ...weights.registry import find
from ..latest import Latest

#: The towers that the published adapters read: (what, how wide) -> name, and where it lies at the hub.
PUBLISHED: Mapping[tuple[str, int], str] = {
    ("projected", 1024): "ViT-H/14, models/image_encoder/model.safetensors of h94/IP-Adapter",
    ("tokens", 1280): "ViT-H/14, models/image_encoder/model.safetensors of h94/IP-Adapter",
    ("projected", 1280): "ViT-bigG/14, sdxl_models/image_encoder/model.safetensors of h94/IP-Adapter",
    ("tokens", 1664): "ViT-bigG/14, sdxl_models/image_encoder/model.safetensors of h94/IP-Adapter",
    ("states", 1024): "EVA02-CLIP-L-14-336, EVA02_CLIP_L_336_psz14_s6B.pt of QuanSun/EVA-CLIP",
}
#: Of each thing that is read of a tower, the field of its config that tells how wide that is.
WIDTHS: Mapping[str, str] = {
    **{"projected": "projection_dim", "tokens": "hidden_size", "matched": "width"},
    **{"states": "hidden_size", "summary": "projection_dim"},
}
#: What the tower that ships is called.
OURS = f"{tower.FOLDER}/{Path(tower.TOWER).stem}"
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
    known = _known()
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


def any_of(what: str, given: str) -> tuple[Path, int]:
    """A tower that says what is read, and how many numbers: the one of a name or path, or the first that there is.

    Raises:
        UnknownName, InvalidFile: as `tower_of`.
    """
    known = _known()
    for path in (Path(os.path.expanduser(given)), *(path for name, path in known.items() if given in ("", name))):
        if path.is_file() and (width := _width(path, what)):
            return path, width
    if given:
        raise UnknownName("image tower", given, (*known, "the path of a file"))
    raise InvalidFile(f"no image tower that fits is there: {_wanted(what, 1024)}")


def _known() -> dict[str, Path]:
    """Name -> file of every image tower, the user's first."""
    ours = installed.path(tower.FOLDER, tower.TOWER)
    return {**library.towers(), **({OURS: ours} if ours else {})}


def _wanted(what: str, width: int) -> str:
    if what == "matched":
        return (
            f"it is {OURS} of the package danqing-mini, with the judge beside it: run `pip install danqing-mini`, or "
            "state tower"
        )
    known = PUBLISHED.get((what, width))
    source = f"{known} at the hub" if known else f"one whose {WIDTHS[what]} is {width}"
    return f"put the tower it was trained with ({source}) into the folder clip_vision of your models, or state tower"


def _width(path: Path, what: str) -> int:
    """How many numbers a tower says; 0 where it does not say such."""
    header = store.header(path)
    family = find(header)
    if family.name not in KINDS:
        family = find(header, "clip-vision")  # the tower of a whole CLIP
    kind = KINDS[family.name]
    if any(not part.is_file() for part in kind.files(path)):
        return 0
    return family.settle(header).values[WIDTHS[what]] if what in kind.says else 0


def kind_of(path: Path) -> Kind:
    """That of a tower's file."""
    return KINDS.get(find(store.header(path)).name, KINDS["clip-vision"])


def says(path: Path, what: str, image: Image.Image | None) -> Tensor:
    """What a tower says of an RGB picture: its summary (1, S), the tokens of its layer before the last (1, L, S), or
    those at five depths (1, 5, L, S). Of none, 0 as the summary and at the depths, or the tokens of a picture that is
    the mean of all."""
    stamp = tuple(part.stat().st_mtime_ns for part in kind_of(path).files(path))
    key = (path, stamp, what, None if image is None else (image.size, hashlib.sha256(image.tobytes()).digest()))
    return _seen.get(key, lambda: _read(path, stamp)(what, image))


@lru_cache(maxsize=1)
def _read(path: Path, stamp: tuple[int, ...]) -> Says:
    return kind_of(path).read(path)


# ----------------------------------------------------------------------------------------------------------- the kinds

#: (what, an RGB picture or none) -> what is said of it.
Says = Callable[[str, Image.Image | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A family of image towers.

    Args:
        says: what can be read of it, of the keys of `WIDTHS`.
        read: a file -> what says it.
        square: makes a square of a picture, all of which is to be seen.
        files: a tower's file -> all that it is read from.
    """

    says: tuple[str, ...]
    read: Callable[[Path], Says]
    square: Callable[[Image.Image], Image.Image]
    files: Callable[[Path], tuple[Path, ...]] = lambda path: (path,)


def _clip(path: Path) -> Says:
    net = load(path, family="clip-vision", dtype=torch.float32)
    assert isinstance(net, CLIPVision)
    size = net.config.image_size

    @torch.inference_mode()
    def says(what: str, image: Image.Image | None) -> Tensor:
        said = net(torch.zeros(1, 3, size, size) if image is None else processed(image, size), skip=1)
        if what == "tokens":
            return said.tokens
        assert said.projected is not None
        return said.projected if image is not None else torch.zeros_like(said.projected)

    return says


def _ours(path: Path) -> Says:
    (look, _), (step, _) = tower.recogniser(_files(path)[1]), tower.image_tower(path)

    def says(what: str, image: Image.Image | None) -> Tensor:
        if image is None:
            return torch.zeros(1, step.config.width)
        side = min(image.size)
        middle = ImageOps.fit(image, (side, side))  # of a square, all of it
        return tower.embedded(look, step, torch.from_numpy(np.array(middle)).movedim(-1, 0)[None])

    return says


def _eva(path: Path) -> Says:
    net = load(path, family="eva-vision", dtype=torch.float32)
    assert isinstance(net, EVAVision)
    size = net.config.image_size

    @torch.inference_mode()
    def says(what: str, image: Image.Image | None) -> Tensor:
        said = net(torch.zeros(1, 3, size, size) if image is None else processed(image, size))
        told = F.normalize(said.projected) if what == "summary" else said.states
        return told if image is not None else torch.zeros_like(told)

    return says


def _files(path: Path) -> tuple[Path, ...]:
    return path, path.with_name(tower.JUDGE)


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


def on_white(image: Image.Image) -> Image.Image:
    """A picture in the middle of a white square, as drawings stand in those that the judge has seen."""
    side = max(image.size)
    return ImageOps.pad(image, (side, side), color="white")


#: By the family that a file's header tells.
KINDS: Mapping[str, Kind] = {
    "clip-vision": Kind(says=("projected", "tokens"), read=_clip, square=square),
    "eva-vision": Kind(says=("states", "summary"), read=_eva, square=square),
    "image-tower": Kind(says=("matched",), read=_ours, square=on_white, files=_files),
}
