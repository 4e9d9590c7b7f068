"""The features that pictures are compared in: the network that ships with danqing, and what it makes of pictures of any
size."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from .. import installed
from ..errors import InvalidFile, InvalidInput
from ..levels import levels_of
from ..nets.features import FeatureConfig, Features
from ..weights import store

#: Where it lies among the installed models, being none itself, and the name of its file.
NAME, WEIGHTS = "features", "features.safetensors"
#: What every table of features has to say.
WHOSE = (
    "features of a small classifier of drawings that ships with danqing, not of Inception: no published "
    "FID compares with them"
)
BATCH = 64


def load(folder: Path | None = None, device: torch.device | str = "cpu") -> Features:
    """The network that ships, or another in a folder; in fp32 on every machine, so that all measure alike.

    Raises:
        InvalidFile: its file is missing or damaged. InvalidInput: none is installed.
    """
    path = folder / WEIGHTS if folder else installed.require(NAME, WEIGHTS)
    if not path.is_file():
        raise InvalidFile(f"the features to compare pictures in are missing: there is no {path}")
    try:
        config = TypeAdapter(FeatureConfig).validate_json(store.header(path).metadata["config"])
        net = Features(config)
        net.load_state_dict({name: tensor.float() for name, tensor in store.each(path)}, strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidFile(
            f"{path} holds other features than this version of danqing knows: install both again ({error})"
        ) from None
    return net.to(device).eval().requires_grad_(False)


@torch.inference_mode()
def of(net: Features, pictures: Tensor) -> Tensor:
    """Bytes (N, 3, S, S) to features (N, D) on the CPU. Pictures of half or a quarter of the network's size are
    enlarged by repeating their pixels, those of twice it and so on reduced by the means of blocks.

    Raises:
        InvalidInput: neither of the sizes divides the other.
    """
    side, wanted = pictures.shape[-1], net.config.image_size
    if max(side, wanted) % min(side, wanted):
        raise InvalidInput(
            f"pictures of {side} px were given; features are read at {wanted} px: give a divisor of it, or a multiple"
        )
    where = next(net.parameters()).device
    return torch.cat([net(_resized(part.to(where), wanted)).cpu() for part in pictures.split(BATCH)])


def _resized(pictures: Tensor, side: int) -> Tensor:
    """Bytes as numbers in [-1, 1], (B, 3, side, side)."""
    x = levels_of(pictures)
    if x.shape[-1] > side:
        return torch.nn.functional.avg_pool2d(x, x.shape[-1] // side)
    return x.repeat_interleave(side // x.shape[-1], 2).repeat_interleave(side // x.shape[-1], 3)
