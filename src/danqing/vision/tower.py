"""The image tower that ships beside the judge: from pictures to where a text tower puts its words.

It is two networks, each in a file of its own: the judge's, which looks, and the step from what that sees to the space
of words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor, nn

from ..errors import InvalidFile
from ..levels import levels_of
from ..nets.recogniser import Recogniser, RecogniserConfig
from ..nets.tower import ImageTower, ImageTowerConfig
from ..weights import store

#: Where both lie among the installed models, being none, and the names of their files.
FOLDER, JUDGE, TOWER = "judge", "judge.safetensors", "tower.safetensors"
BATCH = 64
Net = TypeVar("Net", bound=nn.Module)


def recogniser(path: Path) -> tuple[Recogniser, Mapping[str, str]]:
    """The judge's network, in fp32 on the CPU, and the metadata of its file.

    Raises:
        InvalidFile: it is damaged, or holds another network.
    """
    return _read(
        path,
        lambda said: Recogniser(TypeAdapter(RecogniserConfig).validate_json(said)),
        lambda error: f"{path} holds another judge than this version of danqing knows: install both again ({error})",
    )


def image_tower(path: Path) -> tuple[ImageTower, Mapping[str, str]]:
    """The step from what the judge's network sees, in fp32 on the CPU, and the metadata of its file.

    Raises:
        InvalidFile: it is damaged, or holds another network.
    """
    return _read(
        path,
        lambda said: ImageTower(TypeAdapter(ImageTowerConfig).validate_json(said)),
        lambda error: f"{path} holds another tower than this version of danqing knows: install both again ({error})",
    )


def _read(path: Path, made: Callable[[str], Net], other: Callable[[Exception], str]) -> tuple[Net, Mapping[str, str]]:
    try:
        said = store.header(path).metadata
        net = made(said["config"])
        net.load_state_dict({name: tensor.float() for name, tensor in store.each(path)}, strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidFile(other(error)) from None
    return net.eval().requires_grad_(False), said


def sized(net: Recogniser, pictures: Tensor) -> Tensor:
    """Bytes (N, 3, H, W) as numbers in [-1, 1], at the size of what a network has learned from."""
    x, side = levels_of(pictures), net.config.trunk.image_size
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True).clamp(-1, 1)


@torch.inference_mode()
def features(net: Recogniser, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What a network makes of bytes (N, 3, H, W), N at least 1, for others to read: its coarsest grid (N, C, h, w) and
    texture (N, T), on the CPU."""
    where = next(net.parameters()).device
    parts = [net.features(sized(net, part).to(where)) for part in pictures.split(BATCH)]
    grids, textures = zip(*parts, strict=True)
    return torch.cat(grids).cpu(), torch.cat(textures).cpu()


@torch.inference_mode()
def embedded(net: Recogniser, tower: ImageTower, pictures: Tensor) -> Tensor:
    """Bytes (N, 3, H, W) to unit vectors (N, D) in the space of words, on the CPU."""
    grid, texture = features(net, pictures)
    return tower(grid.flatten(1), texture)
