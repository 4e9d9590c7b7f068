"""Presets: fields of a request under a name, in ``presets/NAME.json`` in the user's folder of settings.

``{"steps": 30, "solver": "euler", "finish": "enlarge"}``, by the names of the command line's options; what is said
beside a preset counts before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import atomic
from ...errors import InvalidFile, InvalidInput, UnknownName
from ...inputs.parse import json_of
from ...request.request import Request
from .. import settings

#: The folder in that of settings.
FOLDER = "presets"


def folder() -> Path:
    """Where presets lie."""
    return settings.place("config") / FOLDER


def known() -> dict[str, Path]:
    """The files of all presets by their names."""
    return {path.stem: path for path in sorted(folder().glob("*.json"))}


def read(name: str) -> dict[str, Any]:
    """The fields that a preset states, by their flat names.

    Raises:
        UnknownName: there is none of that name. InvalidFile: it is no JSON object, or states what is no field.
    """
    if not (there := known()):
        raise InvalidInput(
            f"there is no preset {name!r}, and none at all in {folder()}: --save-preset {name} writes one"
        )
    if (path := there.get(name)) is None:
        raise UnknownName("preset", name, there)
    try:
        said = json_of(path.read_text(encoding="utf-8-sig"))
        if not isinstance(said, dict):
            raise ValueError("it is no object")
        return Request(**said).stated()
    except InvalidInput as error:
        raise InvalidFile(f"the preset {path} cannot be used: {error}") from None
    except (OSError, ValueError) as error:
        raise InvalidFile(f'{path} is no preset: {error}. It reads like {{"steps": 30}}') from None


def write(name: str, options: Mapping[str, Any]) -> Path:
    """Keep the fields that options state under a name, in place of what was there.

    Raises:
        InvalidInput: the name is none of a file, or an option is outside its domain.
        InvalidFile: the folder cannot be written to.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise InvalidInput(f"a preset cannot be called {name!r}: give a word, as in --save-preset icons")
    said = Request(**options).data()
    path = folder() / f"{name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, (json.dumps(said, ensure_ascii=False, indent=1) + "\n").encode())
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot write the preset {path}: {getattr(error, 'strerror', None) or error}") from None
    return path
