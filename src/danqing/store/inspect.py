"""What a file is: a picture with its record, a model's folder, or weights. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import InvalidFile
from ..pictures import encode, read
from ..pictures.carried import carried_by
from ..request import infotext
from ..weights import store
from ..weights.identify import identify
from .find import find


def describe(path: Path) -> dict[str, Any]:
    """What there is to say of a file or a model's folder, as JSON.

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
        return found | {name: carried.record.get(name) for name in ("request", "record", "warnings", "encoding")}
    if carried.parameters is None:
        return found | {"record": "none: neither danqing's nor A1111's"}
    options, ignored = infotext.request_of(infotext.read(carried.parameters))
    return found | {"parameters": carried.parameters, "request": options, "without a place here": ignored}


def _model(path: Path) -> dict[str, Any]:
    model = find(os.path.join(path, ""))
    found = asdict(model)
    for role, part in found["components"].items():
        try:
            model.verify(role)
            part["state"] = "whole"
        except InvalidFile as error:
            part["state"] = str(error)
    return {"file": str(found.pop("folder")), "is": "a model of danqing", **found}


def _weights(path: Path) -> dict[str, Any]:
    found = asdict(identify(path))
    whole = _whole(path) if found["family"] == "checkpoint" and found["loadable"] else {}
    kind = " ".join(filter(None, (found.pop("family"), found.pop("variant"))))
    return {"file": str(found.pop("path")), "is": f"weights: {kind}", **found, **whole, "sha256": store.sha256(path)}


def _whole(path: Path) -> dict[str, Any]:
    """What is said of a single file as a model, in it and beside it, or why it is none."""
    try:
        model = find(path)
    except InvalidFile as error:
        return {"as a model": str(error)}
    return {"prediction": model.prediction, "schedule": dict(model.schedule), "warnings": list(model.warnings)}
