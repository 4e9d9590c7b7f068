"""Files of torch.save (.ckpt, .pt, .pth, .bin), read without running anything: `pickled` is their pickles' reader.

Since 2020 such a file is a zip of ``x/data.pkl``, which describes, and ``x/data/0``, ``x/data/1``, ..., the numbers of
one storage each. Before, it was five pickles (a magic number, a version, the machine, what was saved, the storages'
keys), then for each key an 8-byte count and the numbers. Source: torch/serialization.py of PyTorch.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import InvalidFile
from . import zipped
from .format import MAX_TENSORS, Format, Header, Spec, along, flat, mapped, private, sound
from .inert import BYTES, DTYPES, Opaque, Storage, Strided
from .pickled import MAX_STEPS, Machine

if TYPE_CHECKING:
    from torch import Tensor

ZIP = b"PK\x03\x04"
#: The first pickle of the old form, and the second.
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
#: How deep names may nest, and how long one may be.
MAX_DEPTH, MAX_NAME = 32, 1024
#: How many times its own size a file's tensors may come to, which share and repeat numbers, and how many bytes more.
SWELL, ROOM = 4, 2**20
#: What a file of training puts around the weights, most telling first. The last three are common words: these are a
#: wrapper only where nothing else holds tensors but what training leaves.
WRAPPERS = ("state_dict", "params_ema", "params-ema", "params", "model_state_dict", "model", "module", "net")
COMMON, LEFTOVERS = WRAPPERS[-3:], ("opt", "sched", "lr_sched", "scaler")
REMEDY = (
    "If you trust its source, convert it where it was made: "
    "safetensors.torch.save_file(model.state_dict(), 'new.safetensors'). "
    "Nothing was run, for no path of danqing executes a pickle"
)


@dataclass(frozen=True, kw_only=True)
class View(Spec):
    """A tensor that is a view of a storage, all in numbers of its type.

    Args:
        stride, offset: element (i, j, ...) is number ``offset + i * stride[0] + j * stride[1] + ...``.
        base: where the storage's bytes start in the file.
        room: how many numbers the storage has.
    """

    stride: tuple[int, ...]
    offset: int
    base: int
    room: int


def known(path: Path, start: bytes) -> bool:
    """Whether the first bytes are of a zip file, or a pickle of the magic number."""
    return start.startswith(ZIP) or (start[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in start)


def header(path: Path) -> Header:
    """Run the description as data, find every storage in the file, and check that each tensor lies in its own.

    Raises:
        InvalidFile: truncated or damaged; something in it would run a program; no tensors.
    """
    with sound(path), mapped(path) as data:
        size = len(data)
        root, places = (_zip if data[:4] == ZIP else _old)(path, data)
        walk = Walk()
        root, metadata = unwrap(root, walk)
        tensors: dict[str, Spec] = {}
        for name, found in walk.tensors(root):
            if name in tensors:
                raise ValueError(f"two tensors would be named {name!r}")
            if len(tensors) == MAX_TENSORS:
                raise ValueError(f"it holds more than {MAX_TENSORS:,} tensors")
            tensors[name] = _view(found, places[found.storage.key])
    swollen = sum(spec.count * BYTES[spec.dtype] for spec in tensors.values())
    if swollen > SWELL * size + ROOM:
        raise InvalidFile(
            f"{path} has {size:,} bytes and would make {swollen:,} of them by repeating its numbers, which no weights "
            "need: it is damaged, or an attack. Get the .safetensors file of the model from its author"
        )
    if not tensors:
        raise InvalidFile(f"{path} holds no tensor that has a name. {REMEDY}")
    return Header(path=path, tensors=tensors, metadata=metadata, size=size)


def _view(found: Strided, base: int) -> View:
    """A tensor with its place in the file."""
    width, stop = BYTES[found.dtype], found.offset
    if all(found.shape):
        stop += 1 + sum((n - 1) * step for n, step in zip(found.shape, found.stride, strict=True))
    return View(
        dtype=found.dtype,
        shape=found.shape,
        start=base + found.offset * width,
        stop=base + stop * width,
        stride=found.stride,
        offset=found.offset,
        base=base,
        room=found.storage.bytes // width,
    )


def _zip(path: Path, data: mmap.mmap) -> tuple[Any, Mapping[str, int]]:
    """What was saved, and where each storage starts, of a zip file."""
    entries = zipped.entries(data)
    folders = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(folders) != 1:
        inside = ", ".join(list(entries)[:3])
        raise InvalidFile(
            f"{path} is a zip archive of something else than tensors ({inside}): unpack it, and name the weights in it"
        )
    (folder,) = folders

    def entry(name: str) -> zipped.Entry:
        found = entries[folder + name]
        if not found.plain:
            raise ValueError(f"its entry {name!r} is compressed or encrypted, which torch.save does not do")
        return found

    if folder + "byteorder" in entries and data[slice(*entry("byteorder")[:2])] != b"little":
        raise InvalidFile(f"{path} was saved on a big-endian machine: convert it there to safetensors")
    machine = Machine(path, data, *entry("data.pkl")[:2])
    root, places = machine.load(), {}
    for key, storage in machine.storages.items():
        if f"{folder}data/{key}" not in entries:
            raise ValueError(f"its storage {key!r} is missing")
        start, stop, _ = entry(f"data/{key}")
        _same_length(storage, stop - start)
        places[key] = start
    return root, places


def _old(path: Path, data: mmap.mmap) -> tuple[Any, Mapping[str, int]]:
    """What was saved, and where each storage starts, of the old form."""
    machine = Machine(path, data, 0, len(data))
    magic, version, system, root, keys = (machine.load() for _ in range(5))
    if (magic, version) != (MAGIC, VERSION) or not isinstance(system, dict) or not isinstance(keys, list):
        raise ValueError("it does not begin as torch.save begins a file")
    if system.get("little_endian") is not True:
        raise InvalidFile(f"{path} was saved on a big-endian machine: convert it there to safetensors")
    places: dict[str, int] = {}
    at = machine.at
    for key in keys:
        storage = machine.storages.get(key)
        if storage is None or key in places or int.from_bytes(data[at : at + 8], "little") != storage.count:
            raise ValueError(f"its storage {key!r:.50} is not where or what its description says")
        places[key] = at + 8
        at += 8 + storage.bytes
    if len(places) != len(machine.storages):
        raise ValueError("one of its storages is missing")
    if at > len(data):
        raise InvalidFile(f"{path} is truncated: {len(data):,} bytes instead of {at:,}. Copy or download it again")
    return root, places


def _same_length(storage: Storage, length: int) -> None:
    if storage.bytes != length:
        raise ValueError(f"its storage {storage.key!r} has {length:,} bytes instead of {storage.bytes:,}")


class Walk:
    """Walks over what was saved, which may refer to itself: all together take no more than `MAX_STEPS` steps."""

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def tensors(self, root: Any) -> Iterator[tuple[str, Strided]]:
        """Every tensor, by the keys and places on the way to it, joined by dots; a lone tensor is "tensor"."""
        pending = [("tensor" if isinstance(root, Strided) else "", root, 0)]
        while pending:
            name, value, depth = pending.pop()
            if isinstance(value, Strided):
                yield name, value
                continue
            items = self.items(value)
            if items and depth == MAX_DEPTH:
                raise ValueError(f"its names nest more than {MAX_DEPTH} deep")
            below = []
            for key, child in items:
                if isinstance(child, Strided | Opaque | dict | list | tuple):
                    if isinstance(key, str) and len(key) + len(name) >= MAX_NAME:
                        raise ValueError(f"it holds a name of more than {MAX_NAME:,} letters")
                    below.append((f"{name}.{key}" if depth else str(key), child, depth + 1))
            pending += reversed(below)

    def items(self, value: Any) -> Sequence[tuple[Any, Any]]:
        """The keys and values of whatever has some."""
        content = value.content if isinstance(value, Opaque) else value
        if not isinstance(content, dict | list | tuple):
            return ()
        self.left -= 1 + len(content)
        if self.left < 0:
            raise ValueError(f"what it holds refers to itself more than {MAX_STEPS:,} times")
        return tuple(content.items() if isinstance(content, dict) else enumerate(content))

    def holds(self, value: Any) -> bool:
        """Whether there is a tensor in it."""
        return next(self.tensors(value), None) is not None


def unwrap(root: Any, walk: Walk) -> tuple[Any, dict[str, str]]:
    """The dictionary of the weights, and what else was said around it as strings.

    "pickle.beside" names what holds tensors too and is left out: the state of an optimiser, a second copy.
    """
    metadata: dict[str, str] = {}
    beside: list[str] = []
    for _ in range(MAX_DEPTH):
        if not isinstance(root, dict):
            break
        said = {k: str(v) for k, v in walk.items(root) if isinstance(k, str) and type(v) in (str, int, float, bool)}
        metadata = {k: v for k, v in said.items() if len(k) + len(v) < MAX_NAME} | metadata
        full = [key for key, value in walk.items(root) if walk.holds(value)]
        wrapper = next((key for key in WRAPPERS if key in full and isinstance(root[key], dict | Opaque)), None)
        others = [str(key) for key in full if key != wrapper]
        if wrapper is None or (wrapper in COMMON and not all(key.startswith(LEFTOVERS) for key in others)):
            break
        root, beside = root[wrapper], beside + others
    if beside:
        metadata["pickle.beside"] = ", ".join(beside)[:MAX_NAME]
    return root, metadata


def tensors(head: Header, names: Sequence[str], device: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor with its own strides; on the CPU a view of the mapped file, shared where the file shares its
    numbers."""
    import torch

    types = {name: getattr(torch, torch_name) for torch_name, name in DTYPES.items()}
    data = private(head)
    storages: dict[tuple[int, str], Tensor] = {}
    for name, spec in along(data, head, names):
        view = cast(View, spec)
        key = (view.base, view.dtype)
        if key not in storages:
            storages[key] = flat(data, view.base, view.room, types[view.dtype])
        yield name, storages[key].as_strided(view.shape, view.stride, view.offset).to(device)


SAVED = Format("torch.save", known, header, tensors)
