"""What a file is: a picture with its record, a model's folder, or weights. Needs no torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DanqingError, InvalidFile
from ..pictures import encode, read
from ..pictures.alike import alike
from ..pictures.carried import carried_by
from ..weights import store
from ..weights.identify import identify
from . import library
from .find import find

#: The line that uses a file of weights, by its family; {} is its path.
FILES = {
    **dict.fromkeys(("rrdb", "srvgg"), "danqing enlarge photo.jpg --model {}"),
    **dict.fromkeys(("gfpgan", "restorer"), "danqing faces portrait.jpg --model {}"),
}
#: The prompt that names a file, by its kind; {} is its name.
NAMED = {"lora": "a fox <lora:{}:1>", "embedding": "a fox, {}"}
#: The same of a model, by the family of its core; {} is its name.
MODELS = {"cyclegan": "danqing translate photo.png --model {}"}


def describe(path: Path) -> dict[str, Any]:
    """What there is to say of a file or a model's folder, as JSON; last under "use" the line that uses it.

    Raises:
        InvalidFile: missing, damaged, or nothing that danqing knows.
    """
    if path.is_dir() or path.name == "model.json":
        return _model(path)
    if path.suffix.lower() == ".safetensors":
        return _weights(path)
    try:
        return _picture(path)
    except InvalidFile:
        if not path.is_file() or path.suffix.lower() in encode.WRITABLE:
            raise
        return _weights(path)  # which says what the file is instead


def _picture(path: Path) -> dict[str, Any]:
    carried = carried_by(path)
    curves = carried.format == "SVG"
    what = (
        "an SVG drawing" if curves else f"a {carried.format} picture of {'×'.join(map(str, read.picture(path).size))}"
    )
    found: dict[str, Any] = {"file": str(path), "is": what}
    if carried.record is not None:
        said = {name: carried.record.get(name) for name in ("request", "record", "warnings", "encoding")}
        return found | said | _used("" if curves else f"danqing replay {_quoted(path)}")
    try:
        other = alike(path)
    except InvalidFile:
        return found | {"record": "none that danqing knows"}
    text = {} if carried.parameters is None else {"parameters": carried.parameters}
    said = {"record": other.program, **text, "request": dict(other.options), "without a place here": other.left}
    return found | said | _used(f"danqing paint --like {_quoted(path)}")


def _model(path: Path) -> dict[str, Any]:
    model = find(os.path.join(path, ""))
    found = asdict(model)
    for role, part in found["components"].items():
        try:
            model.verify(role)
            part["state"] = "whole"
        except InvalidFile as error:
            part["state"] = str(error)
    return {"file": str(found.pop("folder")), "is": "a model of danqing", **found, **_used(_painted(path))}


def _weights(path: Path) -> dict[str, Any]:
    found = asdict(identify(path))
    family = found.pop("family")
    whole = _whole(path) if family == "checkpoint" and found["loadable"] else {}
    kind = " ".join(filter(None, (family, found.pop("variant"))))
    said = {"file": str(found.pop("path")), "is": f"weights: {kind}", **found, **whole, "sha256": store.sha256(path)}
    return said | _used(_use(path, family))


def _used(line: str) -> dict[str, str]:
    """The line that uses a file, where there is one."""
    return {"use": line} if line else {}


def _use(path: Path, family: str) -> str:
    """The line that uses a file of weights; "" where nothing here does."""
    kind = library.KINDS.get(family, family)
    if family in FILES:
        return FILES[family].format(_quoted(path))
    if kind in NAMED:
        return _named(path, kind)
    return _painted(path, path.parent)


def _named(path: Path, kind: str) -> str:
    """How a prompt names a file; of one outside the folders of models, after the line that copies it there."""
    known = library.loras() if kind == "lora" else library.embeddings()
    name = next((name for name, file in known.items() if file.samefile(path)), None)
    line = f"danqing paint {_quoted(NAMED[kind].format(name or path.stem))}"
    if name is not None:
        return line
    folder = library.home(kind)
    first = "" if folder.is_dir() else f"mkdir -p {_quoted(folder)} && "
    return f"{first}cp {_quoted(path)} {_quoted(folder)} && {line}"


def _painted(*paths: Path) -> str:
    """How the first of these paths that is a model is painted with, by its name where it has one here."""
    for path in paths:
        try:
            model = find(os.path.join(path, "") if path.is_dir() else path)
        except DanqingError:  # which whoever paints with it is told
            continue
        line = MODELS.get(model.components[model.core].family, "danqing paint 'a fox' --model {}")
        return line.format(_quoted(_name(model.source, model.name)))
    return ""


def _name(source: str, name: str) -> str:
    """A model's name where it is found by that, else its path."""
    try:
        return name if os.path.samefile(find(name).source, source) else source
    except (DanqingError, OSError):
        return source


def _quoted(text: object) -> str:
    return shlex.quote(str(text))


def _whole(path: Path) -> dict[str, Any]:
    """What is said of a single file as a model, in it and beside it, or why it is none."""
    try:
        model = find(path)
    except InvalidFile as error:
        return {"as a model": str(error)}
    return {"prediction": model.prediction, "schedule": dict(model.schedule), "warnings": list(model.warnings)}
