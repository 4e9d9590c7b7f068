"""The networks of a model as tensors in our layout, none of which is made before it is written.

So a model of any size is converted in the memory of its largest tensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import InvalidFile, InvalidInput
from ..run.quantise.layers import Quantised
from ..run.quantise.quantisers import QUANTISERS
from ..weights import load, registry, store
from ..weights.bits import KINDS, Stored
from ..weights.formats import few
from ..weights.layouts.keymap import KeyMap
from .model import Model

TORCH = {
    name: getattr(torch, torch_name) for torch_name, name in store.TORCH_NAMES.items() if hasattr(torch, torch_name)
}


@dataclass(frozen=True, kw_only=True)
class Due:
    """A tensor of a known type and shape that is made when `store.write` asks for its numbers, by ``detach``."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor] = field(repr=False)
    is_meta: bool = False
    is_sparse: bool = False
    device: str = "cpu"
    layout: str = "strided"

    def numel(self) -> int:
        """How many numbers it will have."""
        return prod(self.shape)

    def element_size(self) -> int:
        """Bytes of each."""
        return self.dtype.itemsize

    def detach(self) -> Tensor:
        """The tensor."""
        made = self.make()
        if made.dtype != self.dtype or tuple(made.shape) != self.shape:
            raise InvalidFile(
                f"a tensor came as {made.dtype} {list(made.shape)} instead of {self.dtype} {list(self.shape)}"
            )
        return made


Dues = Mapping[str, Due]


def write(path: Path, dues: Dues, metadata: Mapping[str, str]) -> Path:
    """Write tensors one after another; for the rest see `danqing.weights.store.write`."""
    return store.write(path, cast(Mapping[str, Tensor], dues), metadata)


def put(path: Path, said: Any) -> None:
    """Write what is said beside tensors, a file of JSON, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class Reader:
    """The tensors of a file, each a view of it that is read when used and whose pages go with it; those of quantised
    blocks are made when taken.

    Raises:
        InvalidFile: as for `danqing.weights.store.header`.
    """

    def __init__(self, path: Path):
        self.form, self.header = store.known(path)

    def take(self, name: str) -> Tensor:
        """One of them."""
        return next(self.form.tensors(self.header, [name], "cpu"))[1]

    def dtype(self, name: str, wanted: torch.dtype | None) -> torch.dtype:
        """The type that a tensor is written in: the wanted one, if it holds real numbers and one is wanted."""
        given = self.header.tensors[name].dtype
        if given not in TORCH:
            raise InvalidFile(
                f"{self.header.path} has {name!r} of the type {given}, which cannot be converted: get another file"
            )
        own = TORCH[given]
        return wanted if wanted is not None and own.is_floating_point else own


def fit(tensor: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """A tensor in another type.

    Raises:
        InvalidInput: a number is too large for it.
    """
    if tensor.dtype == dtype:
        return tensor
    made = tensor.to(dtype)
    if dtype == torch.float16 and made.isinf().sum() > tensor.isinf().sum():
        raise InvalidInput(
            f"{name!r} holds numbers beyond 65504, which fp16 does not reach: convert with --dtype bf16 or fp32"
        )
    return made


@dataclass(frozen=True, kw_only=True)
class Part:
    """One network of a model.

    Args:
        net: on the meta device, with its config.
        tensors: by name in our layout.
    """

    family: str
    net: nn.Module
    tensors: Dues

    @property
    def config(self) -> Any:
        """Of the network."""
        return self.net.config


def parts(model: Model, dtype: torch.dtype | None) -> tuple[dict[str, Part], list[str]]:
    """The networks of a model by part, and the tensors of its files that belong to none of them.

    Raises:
        InvalidFile: a file is missing, damaged, or differs from its network by a name or a shape.
    """
    readers: dict[Path, Reader] = {}
    used: dict[Path, set[str]] = {}
    found: dict[str, Part] = {}
    for role, component in model.components.items():
        path = model.file_of(role)
        reader = readers.setdefault(path, Reader(path))
        which = registry.find(reader.header, component.family, component.part or None)
        sources = which.sources(reader.header)
        net = load.empty(which, reader.header, component.config or None)
        shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        load.compare(reader.header, which, sources, shapes)
        used.setdefault(path, set()).update(source.name for source in sources.values())

        def make(name: str, reader: Reader = reader, sources: Any = sources, shapes: Any = shapes) -> Tensor:
            whole = sources[name].take(reader.take(sources[name].name))
            return fit(whole.reshape(shapes[name]), reader.dtype(sources[name].name, dtype), name)

        types = {name: reader.dtype(sources[name].name, dtype) for name in shapes}
        tensors = {
            name: Due(dtype=types[name], shape=shape, make=partial(make, name)) for name, shape in shapes.items()
        }
        found[role] = Part(family=component.family, net=net, tensors=tensors)
    left = [name for path, reader in readers.items() for name in reader.header.tensors if name not in used[path]]
    return found, left


def outward(tensors: Dues, keymap: KeyMap, prefix: str) -> dict[str, Due]:
    """Tensors of ours in the layout of a file.

    Raises:
        InvalidFile: the map does not find them again, so that they could not be read.
    """
    meta = {name: torch.empty(due.shape, dtype=due.dtype, device="meta") for name, due in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in keymap.back(meta).items()}
    sources = keymap.sources(shapes)
    if sources.keys() != tensors.keys():
        odd = sorted(sources.keys() ^ tensors.keys())
        raise InvalidFile(
            f"{odd[0]!r} and {len(odd) - 1} more have no place in the layout of a single file: convert to a "
            "folder instead"
        )
    inside: dict[str, list[tuple[int, str]]] = {}
    for name, source in sources.items():
        inside.setdefault(source.name, []).append((source.part, name))

    def make(names: Sequence[str], way: Any, dtype: torch.dtype) -> Tensor:
        made = [tensors[name].detach() for name in names]
        return (way.together(made) if way else made[0]).to(dtype)

    written: dict[str, Due] = {}
    for old, numbered in inside.items():
        names = [name for _, name in sorted(numbered)]
        dtype = tensors[names[0]].dtype
        written[prefix + old] = Due(
            dtype=dtype, shape=shapes[old], make=partial(make, names, sources[names[0]].way, dtype)
        )
    return written


def in_few(role: str, part: Part, quantise: str) -> tuple[dict[str, Due], dict[str, str]]:
    """The tensors of a network whose weights a quantiser keeps in few bits, and what its file's metadata say of them.

    They are made of the numbers that the source has, as they are when that is quantised while it is loaded.

    Args:
        role: of the network in its model.
        part: the network; its layers are those that the quantiser makes from now on.
    """
    QUANTISERS[quantise].attach(role, part.net)
    names = {kind: name for name, kind in KINDS.items()}
    layers = {name: layer for name, layer in part.net.named_modules() if isinstance(layer, Quantised)}
    kinds = {f"{name}.weight": names[type(layer.stored)] for name, layer in layers.items()}
    if not kinds:
        return dict(part.tensors), {}

    @lru_cache(maxsize=1)  # of which two tensors may follow each other
    def made(name: str) -> Stored:
        return KINDS[kinds[name]].of(part.tensors[name].detach())

    tensors = {name: due for name, due in part.tensors.items() if name not in kinds}
    for name, kind in kinds.items():
        for own, (dtype, shape) in few.KINDS[kind](part.tensors[name].shape).items():
            take = partial(lambda name, own: made(name).parts()[own], name, own)
            tensors[f"{name}.{own}"] = Due(dtype=TORCH[dtype], shape=shape, make=take)
    types = {dtype: name for name, dtype in TORCH.items()}
    said = {name: (kind, types[part.tensors[name].dtype], part.tensors[name].shape) for name, kind in kinds.items()}
    stated = json.dumps({"version": few.VERSION, "weights": said}, sort_keys=True)
    return tensors, {few.BITS_KEY: stated, few.QUANTISE_KEY: quantise}
