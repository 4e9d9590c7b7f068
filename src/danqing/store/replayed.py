"""A picture's record as a request that can be painted here: given pictures are found by their content, and what a
stranger's record names outside the library is told."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import installed
from ..errors import InvalidFile, InvalidInput
from ..pictures.carried import carried_by, recorded
from ..pictures.places import CONTENT
from ..request.request import Request, moved, pictures
from . import library, settings

#: How many files of a folder are looked at, for one of a content.
LOOKED = 1_000


def request_of(path: str | os.PathLike[str], *, trust: bool = False) -> Request:
    """The request that a file was painted by.

    A given picture that is not where the record says is taken from beside the file, from the folder that is worked in,
    or from where one of this SHA-256 was read before.

    Args:
        trust: read what the record names outside the library even where the record does not hold its SHA-256.

    Raises:
        InvalidFile: the file carries no record, or a given picture is gone.
        InvalidInput: the record names files outside the library that nobody here has shown it.
    """
    request, record = recorded(path), record_of(path)
    request = moved(request, dict(_found(request, record, Path(path).parent)))
    if not trust and (outside := list(_outside(request, record))):
        raise InvalidInput(
            f"{path} wants {', '.join(outside)}, outside the folders of models, and its record does not show that it "
            f"was painted with them. It would paint {request.width}×{request.height} in {request.sampling.steps} steps "
            f"with {request.model}. If you know where it comes from: --trust"
        )
    return request


def record_of(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """What a file says of its making beside the request; nothing where it says nothing."""
    inner = (carried_by(path).record or {}).get("record")
    return inner if isinstance(inner, dict) else {}


def _found(request: Request, record: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """The given pictures that lie elsewhere now, by the fields that name them."""
    for field, given in _pictures(request):
        wanted = record.get(field)
        if given.startswith(CONTENT):
            raise InvalidFile(
                f"{field} was given in memory, and the record holds its hash alone: paint it from its file"
            )
        if os.path.isfile(os.path.expanduser(given)) or not isinstance(wanted, str):
            continue
        if (there := _by_content(wanted, Path(given).name, folder)) is not None:
            yield field, str(there)


def _pictures(request: Request) -> Iterator[tuple[str, str]]:
    for field, value in pictures(request).items():
        if not value.startswith("data:"):
            yield field, value


def _by_content(sha256: str, name: str, folder: Path) -> Path | None:
    """A file of this content: beside the picture or here, that name first, else one that was read before."""
    for place in (folder, Path.cwd()):
        files = [path for path in sorted(place.glob("*"))[:LOOKED] if path.is_file()]
        for path in sorted(files, key=lambda path: path.name != name):
            if (path.name == name or path.suffix.lower() == Path(name).suffix.lower()) and _hash(path) == sha256:
                return path
    return library.remembered(sha256)


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _outside(request: Request, record: Mapping[str, Any]) -> Iterator[str]:
    """What a request names by a path outside the folders of models, of other content than the record says."""
    inside = [folder.resolve() for folder in (*settings.read().models, *installed.folders())]
    shown = {value for value in record.values() if isinstance(value, str)}
    shown |= _values(record.get("weights")) | _values(record.get("finish"))
    models = [request.model, request.override.vae, request.refiner.model, request.hires.by]
    models += [control.file for control in request.controls]
    models += [file for one in request.image_prompts for file in (one.file, one.tower, one.faces)]
    models += [file for one in request.faces for file in (one.file, one.control, one.recogniser)]
    for given in (*models, *_finishes(request), *(value for _, value in _pictures(request))):
        path = Path(os.path.expanduser(given))
        if len(path.parts) < 2 or not path.exists() or any(path.resolve().is_relative_to(folder) for folder in inside):
            continue
        files = [path] if path.is_file() else sorted(path.glob("**/*.safetensors"))[:LOOKED]
        if not any(library.digest(file) in shown for file in files):
            yield given


def _values(inner: object) -> set[str]:
    return {value for value in inner.values() if isinstance(value, str)} if isinstance(inner, dict) else set()


def _finishes(request: Request) -> Iterator[str]:
    for record in request.finish:
        yield from record.reads
