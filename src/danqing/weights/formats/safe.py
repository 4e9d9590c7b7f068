"""safetensors files.

A file is an 8-byte little-endian length n, n bytes of JSON (name -> dtype, shape, offsets; ``__metadata__``: strings),
then the tensors' bytes without gaps. Source: the description of the format in the README of huggingface/safetensors.

Tensors of a file of ours may be held in steps: whole numbers q of 8 bits that stand for ``low + step · q``, as its
metadata says. They are read as float32. Weights in few bits, see `few`, are read as what they stand for; `kept` gives
them as they are.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidFile
from .few import BITS_KEY, Few, folded
from .format import BITS, MAX_HEADER, TORCH_NAMES, Format, Header, Spec, along, flat, private, sound

if TYPE_CHECKING:
    from mmap import mmap

    from torch import Tensor

    from ..bits import Stored

#: Metadata key of our own files: JSON, the name of each tensor that is held in steps -> [step, low].
STEPS_KEY = "danqing.steps"


@dataclass(frozen=True, kw_only=True)
class Steps(Spec):
    """A tensor of float32 that is held in whole numbers q of 8 bits, ``low + step · q``."""

    step: float
    low: float

    @classmethod
    def of(cls, spec: Spec, step: float, low: float) -> Steps:
        """What a spec holds, read so."""
        if spec.dtype != "U8":
            raise ValueError(f"a tensor that is said to be held in steps is of the type {spec.dtype}")
        return cls(dtype="F32", shape=spec.shape, start=spec.start, stop=spec.stop, step=float(step), low=float(low))


def header(path: Path) -> Header:
    """Read and check a safetensors file's header, and nothing behind it.

    Raises:
        InvalidFile: truncated, or a header that contradicts itself or the file's size.
    """
    with sound(path):
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise InvalidFile(
                    f"{path} claims a header of {length:,} bytes: corrupted, for real ones stay under {MAX_HEADER:,}"
                )
            if length > size - 8:
                what = f"its header alone has {length:,} bytes, the file {size:,}"
                raise InvalidFile(f"{path} is truncated: {what}. Copy or download it again")
            text = file.read(length)
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
        metadata = entries.pop("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata is not all strings")
        specs = [(name, _spec(name, entry)) for name, entry in entries.items()]
        tensors = dict(sorted(specs, key=lambda item: (item[1].start, item[1].stop)))
        stop = 0
        for name, spec in tensors.items():
            if spec.start != stop:
                raise ValueError(f"the data of {name!r} starts at byte {spec.start} instead of {stop}")
            stop = spec.stop
        for name, (step, low) in json.loads(metadata.pop(STEPS_KEY, "{}")).items():
            tensors[name] = Steps.of(tensors[name], step, low)
        if said := metadata.pop(BITS_KEY, ""):
            tensors = folded(path, tensors, said)
    if not tensors:
        raise InvalidFile(f"{path} is a safetensors file without a single tensor: copy or download it again")
    if 8 + length + stop != size:
        what = "truncated" if size < 8 + length + stop else "longer than its header says"
        whole = f"{8 + length + stop:,}"
        raise InvalidFile(f"{path} is {what}: {size:,} bytes instead of {whole}. Copy or download it again")
    return Header(path=path, tensors=tensors, metadata=metadata, size=size)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names must differ."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands in it twice")
    return result


def _spec(name: str, entry: Any) -> Spec:
    """One entry of the header, checked against itself."""
    dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in BITS:
        raise ValueError(f"{name!r} has the unknown type {dtype!r}")
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise ValueError(f"{name!r} has a shape or an offset that is no natural number")
    if (stop - start) * 8 != math.prod(shape) * BITS[dtype]:
        raise ValueError(f"{name!r} has {stop - start} bytes, which do not make {dtype} {list(shape)}")
    return Spec(dtype=dtype, shape=shape, start=start, stop=stop)


def tensors(head: Header, names: Sequence[str], device: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor; on the CPU a view of the mapped file."""
    import torch

    types = {name: getattr(torch, torch_name, None) for torch_name, name in TORCH_NAMES.items()}
    data, begin = private(head), _begin(head)
    for name, spec in along(data, head, names, begin):
        dtype = types.get(spec.dtype)
        if dtype is None:
            raise InvalidFile(
                f"cannot read {head.path}: {name!r} is of the type {spec.dtype}, which torch {torch.__version__} lacks"
            )
        if isinstance(spec, Few):
            yield name, _stored(data, begin, spec).dense(dtype).to(device)
            continue
        if isinstance(spec, Steps):
            held = flat(data, begin + spec.start, spec.count, torch.uint8).double()
            yield name, (spec.low + spec.step * held).float().view(spec.shape).to(device)
            continue
        yield name, flat(data, begin + spec.start, spec.count, dtype).view(spec.shape).to(device)


def kept(head: Header) -> Mapping[str, Stored]:
    """The weights in few bits of a file as they are kept: views of the mapped file, read when used."""
    few = {name: spec for name, spec in head.tensors.items() if isinstance(spec, Few)}
    if not few:
        return {}
    data, begin = private(head), _begin(head)
    return {name: _stored(data, begin, spec) for name, spec in few.items()}


def _stored(data: mmap, begin: int, spec: Few) -> Stored:
    """A weight in few bits, of a mapped file."""
    import torch

    from ..bits import KINDS

    names = {name: getattr(torch, torch_name) for torch_name, name in TORCH_NAMES.items() if hasattr(torch, torch_name)}
    parts = {
        own: flat(data, begin + part.start, part.count, names[part.dtype]).view(part.shape)
        for own, part in spec.parts.items()
    }
    return KINDS[spec.kind].read(parts, torch.Size(spec.shape))


def _begin(head: Header) -> int:
    """Where the bytes are from which the tensors' places count."""
    inside = (part for spec in head.tensors.values() if isinstance(spec, Few) for part in spec.parts.values())
    return head.size - max(spec.stop for spec in (*head.tensors.values(), *inside))


SAFETENSORS = Format("safetensors", lambda path, start: start[8:9] == b"{", header, tensors)
