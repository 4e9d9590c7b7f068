"""Which adapter files a prompt asks for, and where they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import UnknownName

#: Kinds of tags that mean a LoRA; "lyco" is from when LyCORIS files had a tag of their own.
KINDS = ("lora", "lyco")
ENDINGS = (".safetensors", ".pt", ".bin", ".ckpt")


class Tag(Protocol):
    """``<kind:name:te:unet>``, as `danqing.prompt.grammar.Tag`."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def te(self) -> float: ...
    @property
    def unet(self) -> float: ...


class Asked(NamedTuple):
    """A LoRA's file, and its strength on the text encoders and on the backbone."""

    path: Path
    te: float
    unet: float


def asked(tags: Iterable[Tag], folders: Sequence[str | os.PathLike[str]]) -> tuple[Asked, ...]:
    """The LoRAs that the tags of a prompt ask for, in their order; tags of other kinds are left out.

    Args:
        tags: of a parsed prompt.
        folders: where the files are, at any depth; see `files`.

    Raises:
        UnknownName: there is no file of that name; offers the nearest.
    """
    wanted = [tag for tag in tags if tag.kind in KINDS]
    if not wanted:
        return ()
    known = files(folders)
    return tuple(Asked(pick(known, tag.name, "LoRA"), tag.te, tag.unet) for tag in wanted)


def files(folders: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    """Name -> file of every file of weights below the folders.

    A name is that of the file without its ending, and also the path to it inside its folder, with ``/``. Of two files
    of one name that in the earlier folder counts, then the first in alphabetical order.
    """
    found: dict[str, Path] = {}
    for folder in map(Path, folders):
        inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
        for path in inside:
            for name in (path.stem, path.relative_to(folder).with_suffix("").as_posix()):
                found.setdefault(name, path)
    return found


def pick(known: dict[str, Path], name: str, kind: str) -> Path:
    """The file of a name as typed: its case and its ending do not matter where the name is clear without them.

    Raises:
        UnknownName: there is none.
    """
    if name in known:
        return known[name]
    plain = name.replace("\\", "/").casefold()
    plain = next((plain.removesuffix(ending) for ending in ENDINGS if plain.endswith(ending)), plain)
    for other, path in known.items():
        if other.casefold() == plain:
            return path
    raise UnknownName(kind, name, {path.stem for path in known.values()})
