"""A model by whatever a person calls it."""

from __future__ import annotations

import os
from pathlib import Path

from .. import atomic
from ..errors import InvalidFile
from . import foreign, library, shipped
from .model import Model, read_model

#: What stands for a model: a name, a path, or its description.
AnyModel = str | os.PathLike[str] | Model


def find(model: AnyModel) -> Model:
    """A model by its name in an installed package, by the path of its folder or of its single file, or by its name in
    the folders of models; one that is found already is itself.

    Raises:
        UnknownName: none of these. InvalidInput: a name that fits several, or one of ours that is not installed.
        InvalidFile: it is there, but missing a part, damaged or of no kind that is known here.
    """
    if isinstance(model, Model):
        return model
    given = os.fspath(model)
    if (folder := shipped.folders().get(given)) is not None:
        return read_model(folder)
    folder = Path(os.path.expanduser(given))
    if folder.name == "model.json" and os.path.isfile(folder):
        folder = folder.parent
    atomic.restore(folder)
    if os.path.isfile(folder / "model.json"):
        return read_model(folder)
    if foreign.is_foreign(folder):
        return foreign.describe(folder)
    if os.path.isfile(folder):
        raise InvalidFile(f"{given} is a file, and a model is a folder: name the one whose model.json lists this file")
    if os.path.isdir(folder) and os.sep in given:
        lists = "`danqing models` lists what is here"
        raise InvalidFile(f"the folder {given} is no model: it holds no model.json and no model_index.json. {lists}")
    found = library.locate(given)
    return read_model(found) if (found / "model.json").is_file() else foreign.describe(found)
