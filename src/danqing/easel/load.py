"""Any model, ready to paint: by the network at its core a `Painter`, which denoises, or a `Direct`, which does not; or
none."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from ..errors import UnknownName
from ..run.device import find_device
from ..run.precision import find_precision
from ..weights import store
from ..weights.load import load as network
from . import zoo
from .base import Easel
from .direct import Direct
from .generators import GENERATORS
from .given import NONE, Given
from .painter import Painter


def load(model: zoo.Given = zoo.DEFAULT, device: str | None = None, precision: str | None = None) -> Easel:
    """A model by name, folder or description, on a device, in a precision; the best of the machine where not given.
    "none" is no model.

    Raises:
        UnknownName: no such model, device or precision. InvalidFile: the folder's files are missing, damaged or
            foreign.
    """
    if model == NONE:
        return Given(device, precision)
    described = zoo.find(model)
    if described.core == "denoiser":
        return Painter.load(described, device, precision)
    where = find_device(device)
    return _load(*described.stamped, where, find_precision(where, precision))


@lru_cache(maxsize=2)
def _load(source: Path, stamp: int, device: torch.device, dtype: torch.dtype) -> Direct:
    """Every network of a generator, on the device."""
    model = zoo.find(source)
    family = model.components[model.core].family
    if family not in GENERATORS:
        raise UnknownName("family of a generator", family, GENERATORS)
    nets = {}
    with store.at_hand(model.path(part.file) for part in model.components.values()):
        for role, part in model.components.items():
            nets[role] = network(
                model.path(part.file), family=part.family, config=part.config or None, device=device, dtype=dtype
            )
            model.verify(role)  # afterwards, for what cannot be loaded at all has a better reason than another sum
    return GENERATORS[family](model=model, nets=nets, device=device, dtype=dtype)
