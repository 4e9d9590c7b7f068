"""Which adapter's file a name means."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnknownName

#: Kinds of tags that mean a LoRA; "lyco" is from when LyCORIS files had a tag of their own.
KINDS = ("lora", "lyco")
ENDINGS = (".safetensors", ".pt", ".bin", ".ckpt")


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
