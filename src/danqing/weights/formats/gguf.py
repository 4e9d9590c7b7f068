"""GGUF files of quantised weights.

"GGUF", a version, how many tensors and how many pairs of metadata, the pairs, the tensors' descriptions (name,
dimensions from the innermost, type, offset), then their bytes, each aligned. Source: docs/gguf.md of ggml-org/ggml.
ComfyUI's converter keeps under ``comfy.gguf.orig_shape.NAME`` a shape that the format would not hold. A quantised
tensor is read as float32: a float16 scale times small integers has more digits than 16 bits hold, and a cast to fewer
is whoever reads its choice.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import InvalidFile
from .format import MAX_HEADER, MAX_TENSORS, Format, Header, Spec, along, flat, mapped, private, sound
from .ggml import KINDS, OTHERS, Kind

if TYPE_CHECKING:
    from torch import Tensor


TORCH = {"F32": "float32", "F16": "float16", "F64": "float64", "BF16": "bfloat16"} | {
    f"I{n}": f"int{n}" for n in (8, 16, 32, 64)
}
#: The types of metadata that have a fixed size, as struct formats; then text, and lists.
SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIifBQqd", strict=True))
TEXT, LIST = 8, 9
#: How many entries a list may have to be told in the metadata. Vocabularies are longer.
LISTED = 64
MAX_DIMS, MAX_ALIGNMENT = 4, 2**20
ALIGNMENT_KEY, SHAPE_KEY, PARTS_KEY, TYPES_KEY = (
    "general.alignment",
    "comfy.gguf.orig_shape.",
    "split.count",
    "gguf.types",
)


@dataclass(frozen=True, kw_only=True)
class Blocks(Spec):
    """A tensor in blocks of a kind."""

    kind: Kind


class Cursor:
    """Reads a header from its beginning, never more than `MAX_HEADER` of it."""

    def __init__(self, data: mmap.mmap):
        self.data, self.at, self.stop = data, 0, min(len(data), MAX_HEADER)

    def skip(self, count: int) -> int:
        """Pass so many bytes, and say where they begin."""
        if count > self.stop - self.at:
            raise ValueError(
                "it ends before its description does" if self.stop == len(self.data) else "its description is too long"
            )
        self.at += count
        return self.at - count

    def numbers(self, form: str) -> tuple[Any, ...]:
        """The next numbers, by their struct format."""
        return struct.unpack_from("<" + form, self.data, self.skip(struct.calcsize("<" + form)))

    def number(self, form: str) -> Any:
        """The next number."""
        return self.numbers(form)[0]

    def text(self, errors: str = "strict") -> str:
        """A length and so many bytes of UTF-8."""
        length = self.number("Q")
        start = self.skip(length)
        return self.data[start : start + length].decode("utf-8", errors)

    def value(self, kind: int) -> Any:
        """A value of the metadata: a number, a text, a tuple of either, or in place of a long list its length in
        words."""
        if kind in SCALARS:
            return bool(self.number("B")) if kind == 7 else self.number(SCALARS[kind])
        if kind == TEXT:
            return self.text("replace")
        if kind != LIST:
            raise ValueError(f"its metadata has the unknown type {kind}")
        kind, count = self.numbers("IQ")
        if kind not in SCALARS and kind != TEXT:
            raise ValueError(f"its metadata has a list of the type {kind}")
        if count <= LISTED:
            return tuple(self.value(kind) for _ in range(count))
        if kind == TEXT:
            for _ in range(count):
                self.skip(self.number("Q"))
        else:
            self.skip(count * struct.calcsize(SCALARS[kind]))
        return f"{count:,} values"


def header(path: Path) -> Header:
    """Read and check all that stands before the data. ``metadata["gguf.types"]`` tells how many tensors are of which
    type.

    Raises:
        InvalidFile: truncated or damaged, a type that is not read, a part of a file.
    """
    with sound(path), mapped(path) as data:
        cursor = Cursor(data)
        _, version, count, pairs = cursor.numbers("4sIQQ")
        if version not in (2, 3):
            raise InvalidFile(
                f"{path} is GGUF of version {version}, or of a big-endian machine; read are 2 and 3: convert it anew"
            )
        if count > MAX_TENSORS or pairs > MAX_TENSORS:
            raise ValueError(f"it claims {count:,} tensors and {pairs:,} pairs of metadata")
        said: dict[str, Any] = {}
        for _ in range(pairs):
            key = cursor.text()
            if key in said:
                raise ValueError(f"its metadata has {key!r:.50} twice")
            said[key] = cursor.value(cursor.number("I"))
        if said.get(PARTS_KEY, 1) not in (0, 1):
            raise InvalidFile(f"{path} is one of {said[PARTS_KEY]} parts: join them with llama-gguf-split --merge")
        alignment = said.get(ALIGNMENT_KEY, 32)
        if type(alignment) is not int or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
            raise ValueError(f"its alignment is {alignment!r:.50}, no power of two")
        described = [_describe(path, cursor) for _ in range(count)]
        start = cursor.at + -cursor.at % alignment
        tensors = _place(described, said, start, alignment)
        size = len(data)
    if not tensors:
        raise InvalidFile(f"{path} is a GGUF file without a single tensor: copy or download it again")
    stop = max(spec.stop for spec in tensors.values())
    if stop > size:
        raise InvalidFile(f"{path} is truncated: {size:,} bytes instead of {stop:,}. Copy or download it again")
    metadata = {
        key: value if isinstance(value, str) else str(value)
        for key, value in said.items()
        if not key.startswith(SHAPE_KEY)
    }
    kinds = Counter(spec.kind.name for spec in tensors.values())
    metadata[TYPES_KEY] = ", ".join(f"{name} {n}" for name, n in kinds.most_common())
    return Header(path=path, tensors=tensors, metadata=metadata, size=size)


def _describe(path: Path, cursor: Cursor) -> tuple[str, tuple[int, ...], Kind, int]:
    """One tensor's name, shape, type and offset."""
    name, dims = cursor.text(), cursor.number("I")
    if dims > MAX_DIMS:
        raise ValueError(f"{name!r:.50} has {dims} dimensions, more than {MAX_DIMS}")
    shape = cursor.numbers(f"{dims}Q")[::-1]
    number, offset = cursor.numbers("IQ")
    if number not in KINDS:
        kind = OTHERS.get(number, f"number {number}")
        read = ", ".join(known.name for known in KINDS.values())
        raise InvalidFile(
            f"{path} has the tensor {name!r:.50} of the type {kind}; read are {read}: get a file of one of these"
        )
    kind = KINDS[number]
    if (shape[-1] if shape else 1) % kind.numbers:
        raise ValueError(f"{name!r:.50} has rows of {shape[-1:]} numbers, which do not make blocks of {kind.name}")
    return name, shape, kind, offset


def _place(
    described: list[tuple[str, tuple[int, ...], Kind, int]],
    said: dict[str, Any],
    start: int,
    alignment: int,
) -> dict[str, Blocks]:
    """The tensors in the order of their data, none in another's place."""
    tensors: dict[str, Blocks] = {}
    last = 0
    for name, shape, kind, offset in sorted(described, key=lambda one: one[3]):
        count = prod(shape)
        length = count // kind.numbers * kind.size
        if name in tensors:
            raise ValueError(f"two tensors are named {name!r:.50}")
        if offset % alignment or (length and offset < last):
            raise ValueError(f"the data of {name!r:.50} starts at byte {offset:,}, where it cannot")
        original = said.get(SHAPE_KEY + name, shape)
        if (
            not isinstance(original, tuple)
            or not all(type(n) is int and n >= 0 for n in original)
            or prod(original) != count
        ):
            raise ValueError(f"{name!r:.50} has the shape {shape}, but is said to be of {original!r:.50}")
        last = offset + length
        tensors[name] = Blocks(dtype=kind.dtype, shape=original, start=start + offset, stop=start + last, kind=kind)
    return tensors


def tensors(head: Header, names: Sequence[str], device: str) -> Iterator[tuple[str, Tensor]]:
    """Each tensor: on the CPU a view of the mapped file, or the float32 numbers of its blocks."""
    import torch

    from . import blocks

    data = private(head)
    for name, found in along(data, head, names):
        spec = cast(Blocks, found)
        if spec.kind.numbers == 1:
            values = flat(data, spec.start, spec.count, getattr(torch, TORCH[spec.dtype]))
        else:
            values = torch.from_numpy(blocks.numbers(data, spec.kind, spec.start, spec.count))
        yield name, values.reshape(spec.shape).to(device)


GGUF = Format("GGUF", lambda path, start: start.startswith(b"GGUF"), header, tensors)
