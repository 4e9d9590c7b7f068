"""Models of other programs, described as ours are. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import InvalidFile
from ..model import Model
from . import folder, single
from .hand import NOTHING, ByHand

#: Ends of the files that hold a whole model.
ENDS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def is_foreign(path: Path) -> bool:
    """Whether a path is a model of another program, by its name alone."""
    # Of os.path, which takes a name that is too long for one that is not there.
    return (path.name.endswith(ENDS) and os.path.isfile(path)) or os.path.isfile(path / "model_index.json")


def describe(path: Path, hand: ByHand = NOTHING) -> Model:
    """What a single file or a folder of diffusers holds.

    Args:
        hand: what somebody states of it.

    Raises:
        InvalidFile: it is damaged, of no model that is known here, or lacks a part.
    """
    model, kind, needs = folder.read(path) if path.is_dir() else single.read(path)
    found = hand.of(model)
    lacking = [part for part in needs if part not in found.components]
    if lacking:
        remedy = "use the file of the whole model, or its folder of diffusers"
        if lacking == ["codec"] and not path.is_dir():
            remedy = f"put an autoencoder of {kind} beside it, by the name {path.with_suffix('').name}.vae.safetensors"
        raise InvalidFile(
            f"{path} is the {', '.join(found.components) or 'nothing'} of {kind}, and lacks its "
            f"{', '.join(lacking)}: {remedy}"
        )
    return found
