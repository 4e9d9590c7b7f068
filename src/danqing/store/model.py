"""What a model folder holds: `model.json`, read and written without loading a network.

A model is a folder with a ``model.json`` and the files it names, all relative to the folder::

    {
      "danqing": 1,                                  the version of this format
      "name": "danqing-mini",
      "summary": "...", "licence": "...",            for people
      "components": {
        "denoiser": {"family": "unet", "file": "unet.safetensors", "config": {...}, "sha256": "..."},
        "codec":    {"family": "autoencoder-kl", "file": "vae.safetensors", "config": {...}, "sha256": "..."},
        "text":     {"family": "clip-text", "file": "text.safetensors", "config": {...}, "sha256": "..."}
      },
      "tokenizer": {"kind": "bilingual", "file": "tokenizer.json", "window": 32},
      "schedule": {"kind": "flow", "shift": 1.0},    a schedule's class by its short name, and its arguments
      "prediction": "flow",                          what the network's output means
      "quantise": "int8",                            in how few bits its files keep their weights, where they do
      "multiple": 16,                                width and height are multiples of it
      "defaults": {"width": 128, "height": 128, "steps": 20, "solver": "...", "scale": 4.0, ...}
    }

A model needs a network that paints: a "denoiser", or a "generator" that paints without denoising. What neither of them
needs, such as a schedule of a generator, is left out. ``config`` holds the fields of the network's frozen dataclass.
``sha256`` is checked by whoever verifies the folder.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .. import atomic
from ..errors import InvalidFile, InvalidInput
from ..inputs.parse import json_of
from ..log import log
from ..request.request import Request
from ..weights.store import sha256

FORMAT = 1
#: The largest number of pixels that sizes may have to divide by.
MULTIPLE = 4096
#: No number of a schedule or a tokenizer is larger.
LARGE = 1e6
#: The networks that paint, one of which every model has.
CORES = ("denoiser", "generator")
#: The kinds of the fields below, by their annotations.
KINDS: Mapping[Any, type] = {"str": str, "int": int, "Mapping[str, Any]": dict}


@dataclass(frozen=True, kw_only=True)
class Component:
    """One network of a model.

    Args:
        family: the network's family in `danqing.weights`.
        file: the safetensors file, relative to the model's folder.
        config: the fields of the network's config.
        sha256: of the file, in hex; empty when unknown.
        part: which network of the file it is, where the file holds several.
    """

    family: str
    file: str
    config: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model's description, as ``model.json`` states it (the module's docstring has the fields), or as it was found to
    be.

    Args:
        source: what `danqing.store.find.find` finds it by.
        text: how its prompts are read, {"kind": one of `danqing.painting.text.TEXTS`}.
        trained: what its training took, for people: "steps", "pictures", "core_hours", "machine".
        quantise: by which quantiser its files keep their weights in few bits; "" where they do not.
        task: what its denoiser reads beside the noisy latent, as in `danqing.weights.kinds.Kind`.
        given: files of networks by role that stand outside its folder, as somebody stated by hand.
        warnings: what lies beside the weights and may change its pictures, but is not read or is contradicted: a
            sentence each. Every picture of it carries them.
    """

    folder: Path
    name: str
    components: Mapping[str, Component]
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    prediction: str = ""
    multiple: int = 8
    summary: str = ""
    licence: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    quantise: str = ""
    source: str = ""
    given: Mapping[str, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def core(self) -> str:
        """The role of the network that paints, one of `CORES`."""
        return next(role for role in CORES if role in self.components)

    @property
    def stamped(self) -> tuple[Path, int]:
        """Its source, whole, and a number of the times and sizes of its files and of those of its name beside them: two
        models of the same are the same."""
        source = Path(os.path.abspath(self.source))
        file = source / "model.json" if (source / "model.json").is_file() else source
        beside = source.parent.glob(f"{glob.escape(source.stem)}.*") if source.is_file() else ()
        parts = (path for part in self.components.values() if os.path.isfile(path := self.folder / part.file))
        files = [one.stat() for one in (file, *beside, *parts, *self.given.values())]
        return source, hash(tuple((found.st_mtime_ns, found.st_size) for found in files))

    def path(self, file: str) -> Path:
        """A file of the model, which may be a link to elsewhere, as all are in the cache of the hub.

        Raises:
            InvalidFile: its name leads outside the folder, or it is not there.
        """
        path = Path(os.path.normpath(self.folder / file))
        try:
            inside, there = path.is_relative_to(os.path.normpath(self.folder)), path.is_file()
        except (OSError, ValueError, TypeError) as error:  # too long, with a NUL in it, or no text
            reason = getattr(error, "strerror", None) or error
            raise InvalidFile(f"{self.folder / 'model.json'} names the file {file!r:.80}: {reason}") from None
        if not inside:
            raise InvalidFile(f"{self.folder / 'model.json'} names {file!r}, which lies outside its folder: refused")
        if not there:
            raise InvalidFile(f"the model {self.name!r} lacks its file {path}: copy the whole folder again")
        return path

    def file_of(self, role: str) -> Path:
        """The file of a network.

        Raises:
            InvalidFile: as for `path`.
        """
        return self.given.get(role) or self.path(self.components[role].file)

    def verify(self, role: str) -> None:
        """Hold a network's file to the SHA-256 that was written down for it, where one was.

        Raises:
            InvalidFile: the file is missing, or another than was described.
        """
        part = self.components[role]
        if part.sha256 and (found := sha256(path := self.file_of(role))) != part.sha256:
            raise InvalidFile(
                f"{path} is not the file that its model.json describes: its SHA-256 is {found[:12]}…, not "
                f"{part.sha256[:12]}…; it was"
                " damaged or replaced. Copy the whole folder again"
            )


def read_model(folder: Path) -> Model:
    """Read ``folder/model.json``.

    Raises:
        InvalidFile: not JSON, another format version, or a field missing or unknown.
    """
    path = folder / "model.json"
    try:
        data = json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot read {path}: {error}") from None
    log.info("opened %s", path)
    if not isinstance(data, dict) or data.pop("danqing", None) != FORMAT:
        raise InvalidFile(f'{path} is not a model description of format {FORMAT}: "danqing": {FORMAT} must stand in it')
    try:
        parts = {role: Component(**part) for role, part in data.pop("components").items()}
        own = {"folder": folder, "source": str(folder), "given": {}, "warnings": ()}
        model = Model(**own, components=parts, **data)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidFile(f"{path} has a missing or unknown field: {error}") from None
    _check(path, model)
    if not any(role in parts for role in CORES):
        raise InvalidFile(f"{path} names no {' and no '.join(CORES)} among its components: one of them has to paint")
    return model


def _check(path: Path, model: Model) -> None:
    """Refuse values that whoever loads the model would stumble over."""
    for part in (model, *model.components.values()):
        for name, kind in {f.name: KINDS[f.type] for f in fields(part) if f.type in KINDS}.items():
            if not isinstance(value := getattr(part, name), kind):
                raise InvalidFile(
                    f"{path}: {name} is {str(value)[:80]!r}, of the wrong kind: it must be of the kind {kind.__name__}"
                )
    for name in ("tokenizer", "schedule", "text"):
        for key, value in getattr(model, name).items():
            if (key == "kind" and not isinstance(value, str)) or (
                isinstance(value, int | float) and abs(value) > LARGE
            ):
                raise InvalidFile(f"{path}: the {key} of its {name} is {str(value)[:80]!r}, which cannot be")
    for name, value in model.defaults.items():
        if value is None or (name in ("width", "height") and type(value) is not int):
            raise InvalidFile(f"{path}: the {name} among its defaults is {str(value)[:80]!r}, which cannot be")
    if not 1 <= model.multiple <= MULTIPLE:
        raise InvalidFile(
            f"{path}: multiple is {str(model.multiple)[:80]}; it is the number of pixels that sizes divide by, 1 to "
            f"{MULTIPLE}"
        )
    try:
        Request(**model.defaults)
    except InvalidInput as error:
        raise InvalidFile(f"{path}: among its defaults is one that no request may have: {error}") from None


def write_model(
    folder: Path,
    *,
    name: str,
    components: Mapping[str, tuple[str, str, Mapping[str, Any]]],
    tokenizer: Mapping[str, Any] | None = None,
    schedule: Mapping[str, Any] | None = None,
    prediction: str = "",
    multiple: int = 8,
    summary: str = "",
    licence: str = "",
    defaults: Mapping[str, Any],
    text: Mapping[str, Any] | None = None,
    trained: Mapping[str, Any] | None = None,
    task: str = "",
    quantise: str = "",
) -> Model:
    """Write ``folder/model.json`` for files that already lie there, with their SHA-256, and read it back.

    Args:
        components: role -> (family, file, config as `dataclasses.asdict` gives it).
        tokenizer: {"kind": ..., "file": ...}; schedule: {"kind": ..., arguments}; where the networks need them.
        defaults: values of `Request` fields for whoever states none.
        text, trained, task, quantise: as in `Model`.

    Raises:
        InvalidFile: a named file is not in the folder.
    """
    parts = {}
    for role, (family, file, config) in components.items():
        if not (folder / file).is_file():
            raise InvalidFile(f"{folder / file} is missing: write the weights before the description")
        parts[role] = {"family": family, "file": file, "sha256": sha256(folder / file), "config": dict(config)}
    data = {
        "danqing": FORMAT,
        "name": name,
        "summary": summary,
        "licence": licence,
        "components": parts,
        "tokenizer": dict(tokenizer or {}),
        "schedule": dict(schedule or {}),
        "prediction": prediction,
        "multiple": multiple,
        "defaults": dict(defaults),
        "text": dict(text or {}),
        "trained": dict(trained or {}),
        "task": task,
        "quantise": quantise,
    }
    path = folder / "model.json"
    stated = {name: value for name, value in data.items() if value not in ("", {})}
    atomic.write(path, (json.dumps(stated, indent=2, ensure_ascii=False) + "\n").encode())
    return read_model(folder)
