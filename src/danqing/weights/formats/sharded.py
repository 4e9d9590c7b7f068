"""Weights in several files with an index: ``{"metadata": {...}, "weight_map": {name: file}}`` in ``x.index.json``,
or ``x.index.fp16.json`` for a variant.

Source: save_pretrained of huggingface/transformers and huggingface_hub's split_torch_state_dict_into_shards, which
write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...errors import InvalidFile
from .format import MAX_HEADER, Format, Header, Spec, find, sound
from .safe import unique

if TYPE_CHECKING:
    from torch import Tensor

#: What an index is called, with the name of a variant or without.
NAMED = re.compile(r"\.index(\.\w+)?\.json$")
#: How many files an index may name. The largest published models have some hundreds.
MAX_SHARDS = 4096


@dataclass(frozen=True, kw_only=True)
class Sharded(Header):
    """The header over all files.

    Args:
        shards: each file's format and header.
    """

    shards: Sequence[tuple[Format, Header]]


def over(formats: Sequence[Format]) -> Format:
    """The format of an index whose files are of any of these formats."""
    return Format(
        "index", lambda path, start: NAMED.search(path.name) is not None, lambda path: header(path, formats), tensors
    )


def header(path: Path, formats: Sequence[Format]) -> Sharded:
    """Read an index and the header of each file that it names.

    Raises:
        InvalidFile: it is no index; a file is missing, outside its folder or itself refused; index and files differ by
            a name.
    """
    with sound(path):
        if path.stat().st_size > MAX_HEADER:
            raise InvalidFile(f"{path} has {path.stat().st_size:,} bytes: an index stays under {MAX_HEADER:,}")
        index = json.loads(path.read_text("utf-8"), object_pairs_hook=unique)
        if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict) or not index["weight_map"]:
            raise InvalidFile(f"{path} is no index of weights, for it has no weight_map: name a .safetensors file")
        wanted = index["weight_map"]
        for file in wanted.values():
            if not isinstance(file, str) or not file.strip(".") or set(file) & set("/\\:\0"):
                raise InvalidFile(
                    f"{path} names the file {file!r:.80}, which is outside its folder: its files belong beside it"
                )
        files = sorted(set(wanted.values()))
        if len(files) > MAX_SHARDS:
            raise ValueError(f"it names {len(files):,} files")
    shards = [_shard(path, file, formats) for file in files]
    tensors: dict[str, Spec] = {}
    metadata: dict[str, str] = {}
    for file, (_, head) in zip(files, shards, strict=True):
        for name, spec in head.tensors.items():
            if wanted.get(name) != file:
                said = f"{path.name} says that it is in {wanted.get(name, 'none')}"
                raise InvalidFile(f"{path.parent / file} holds {name!r}, but {said}: get all files of one version")
            tensors[name] = spec
        metadata = {**head.metadata, **metadata}
    if absent := [name for name in wanted if name not in tensors]:
        where = f"{path.parent / wanted[absent[0]]} has no {absent[0]!r}"
        raise InvalidFile(
            f"{where}, and lacks {len(absent)} of the tensors that {path.name} names: get all files of one version"
        )
    return Sharded(
        path=path, tensors=tensors, metadata=metadata, size=sum(head.size for _, head in shards), shards=shards
    )


def _shard(path: Path, file: str, formats: Sequence[Format]) -> tuple[Format, Header]:
    """The format and the header of one file."""
    beside = path.parent / file
    if not beside.exists():
        raise InvalidFile(f"{path} needs the file {file}, which is missing: download it into the same folder")
    form = find(beside, formats)
    if form is None:
        raise InvalidFile(f"{path} names {file}, which is no file of weights: name its weights' files only")
    return form, form.header(beside)


def tensors(head: Header, names: Sequence[str], device: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor, one file after another."""
    places: Mapping[str, int] = {
        name: i for i, (_, part) in enumerate(cast(Sharded, head).shards) for name in part.tensors
    }
    for i, (form, part) in enumerate(cast(Sharded, head).shards):
        if mine := [name for name in names if places[name] == i]:
            yield from form.tensors(part, mine, device)
