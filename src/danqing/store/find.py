"""A model by whatever a person calls it."""

from __future__ import annotations

import os
from pathlib import Path

from .. import atomic
from ..errors import InvalidFile
from . import library, shipped
from .foreign import read as foreign
from .foreign.folder import snapshot
from .foreign.hand import NOTHING, ByHand
from .model import Model, read_model

#: What stands for a model: a name, a path, or its description.
AnyModel = str | os.PathLike[str] | Model


def find(model: AnyModel, hand: ByHand = NOTHING) -> Model:
    """A model by its name in an installed package, by the path of its folder or of its single file, or by its name in
    the folders of models; one that is found already is itself.

    Args:
        hand: what somebody states of it, which goes before what its files say.

    Raises:
        UnknownName: none of these. InvalidInput: a name that fits several, or one of ours that is not installed.
        InvalidFile: it is there, but missing a part, damaged or of no kind that is known here.
    """
    if isinstance(model, Model):
        return hand.of(model)
    given = os.fspath(model)
    if (folder := shipped.folders().get(given)) is not None:
        return hand.of(read_model(folder))
    folder = snapshot(Path(os.path.expanduser(given)))
    if folder.name == "model.json" and os.path.isfile(folder):
        folder = folder.parent
    atomic.restore(folder)
    if os.path.isfile(folder / "model.json"):
        return hand.of(read_model(folder))
    if foreign.is_foreign(folder):
        return foreign.describe(folder, hand)
    if os.path.isfile(folder):
        raise InvalidFile(f"{given} is a file, and a model is a folder: name the one whose model.json lists this file")
    if os.path.isdir(folder) and os.sep in given:
        lists = "`danqing models` lists what is here"
        raise InvalidFile(f"the folder {given} is no model: it holds no model.json and no model_index.json. {lists}")
    found = library.locate(given)
    return hand.of(read_model(found)) if (found / "model.json").is_file() else foreign.describe(found, hand)
