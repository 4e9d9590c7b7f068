"""What the reader of one kind of file is, and what it tells: `Format`, `Header`, `Spec`. Nothing here needs torch."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...errors import InvalidFile
from ..mappings import remembered

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Bits of one number, by the safetensors name of its type.
BITS = {
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8},
    **{"F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8},
    **{"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16},
    **{"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64},
}
#: The safetensors name of a type, by torch's.
TORCH_NAMES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL", "complex64": "C64"},
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8"},
    **{"uint64": "U64", "uint32": "U32", "uint16": "U16", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3"},
}
#: The largest header that is read. Real ones stay under 10 MiB; a hostile one is refused before memory is spent on it.
MAX_HEADER = 32 * 2**20
#: How many bytes of a file are asked for before they are used.
AHEAD = 2**26
#: How many tensors a file may hold. Real ones hold some thousands.
MAX_TENSORS = 2**16


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One tensor as the header states it.

    Args:
        dtype: the safetensors name of the type that it is read as.
        shape: of it.
        start, stop: where its bytes are: behind the header of a safetensors file, in the whole of any other.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def __post_init__(self) -> None:
        # An empty tensor may have any shape, but torch multiplies its other dimensions all the same.
        if math.prod(n or 1 for n in self.shape) >= 2**60:
            raise ValueError(f"a tensor of the shape {list(self.shape)} cannot be")

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file of weights says before its data.

    Args:
        path: of the file.
        tensors: by name, in the order of the file.
        metadata: the strings that whoever wrote it left, and what its format tells beside.
        size: of the whole file in bytes; of all files where there are several.
    """

    path: Path
    tensors: Mapping[str, Spec]
    metadata: Mapping[str, str]
    size: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape."""
        return {name: spec.shape for name, spec in self.tensors.items()}

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold together."""
        return sum(spec.count for spec in self.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Type name -> how many numbers are of it, the most common first."""
        counts: dict[str, int] = {}
        for spec in self.tensors.values():
            counts[spec.dtype] = counts.get(spec.dtype, 0) + spec.count
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


class Format(NamedTuple):
    """One kind of file that holds tensors.

    Args:
        name: of it, for people.
        known: (path, the first bytes) -> whether the file is of this kind.
        header: path -> its checked header, without torch.
        tensors: (its header, names in it, device) -> each of these tensors, in any order.
    """

    name: str
    known: Callable[[Path, bytes], bool]
    header: Callable[[Path], Header]
    tensors: Callable[[Header, Sequence[str], str], Iterator[tuple[str, Tensor]]]


def find(path: Path, formats: Iterable[Format]) -> Format | None:
    """The first format that a file is of, or None.

    Raises:
        InvalidFile: missing, a folder, empty, or it cannot be read.
    """
    if path.is_dir():
        raise InvalidFile(f"{path} is a folder: name one .safetensors file in it")
    if not path.exists():
        raise InvalidFile(f"there is no file {path}: check the path")
    if not path.is_file():
        raise InvalidFile(f"{path} is no regular file: name a .safetensors file")
    start = beginning(path)
    if not start:
        raise InvalidFile(f"{path} is empty: copy or download it again")
    return next((form for form in formats if form.known(path, start)), None)


def beginning(path: Path) -> bytes:
    """The first bytes of a file."""
    with sound(path), path.open("rb") as file:
        return file.read(32)


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Turn whatever a broken file makes its reader raise into one refusal with a remedy."""
    try:
        yield
    except OSError as error:
        raise InvalidFile(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise InvalidFile(f"{path} has a corrupted header ({error}): copy or download it again") from None


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file's bytes, to look at."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def private(head: Header) -> mmap.mmap:
    """A file's bytes, read when used; what is changed in them does not reach the file."""
    with sound(head.path), head.path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if len(data) != head.size:
        raise InvalidFile(f"{head.path} was changed while it was read: read it again")
    return remembered(data)


def along(data: mmap.mmap, head: Header, names: Iterable[str], begin: int = 0) -> Iterator[tuple[str, Spec]]:
    """Each named tensor in the order of the file: what lies ahead is being read while one is in use, what lies behind
    is let go.

    Pages that were let go come back when they are looked at again, unless somebody wrote on them.

    Args:
        begin: where the bytes are from which the tensors' places count.
    """
    order = sorted(((name, head.tensors[name]) for name in names), key=lambda item: item[1].start)
    coming = iter(order)
    ahead = 0
    for name, spec in order:
        while ahead < spec.stop + AHEAD and (following := next(coming, None)):
            ahead = following[1].stop
            _advise(data, "MADV_WILLNEED", begin + following[1].start, begin + ahead)
        yield name, spec
        _advise(data, "MADV_DONTNEED", begin + spec.start, begin + spec.stop)


def _advise(data: mmap.mmap, advice: str, start: int, stop: int) -> None:
    """Tell the system what is to become of the pages of some bytes, where it listens."""
    whole = start // mmap.PAGESIZE * mmap.PAGESIZE
    if stop > start and hasattr(mmap, advice):
        data.madvise(getattr(mmap, advice), whole, stop - whole)


def flat(data: mmap.mmap, start: int, count: int, dtype: torch.dtype) -> Tensor:
    """Numbers of a mapped file as a tensor (count,): a view, or a copy where the file does not align them."""
    import torch

    if not count:  # which frombuffer refuses
        return torch.empty(0, dtype=dtype)
    view = torch.frombuffer(data, dtype=torch.uint8, count=count * dtype.itemsize, offset=start)
    # Unaligned numbers crash some processors, even while they are copied: so the copy is of bytes.
    return (view.clone() if view.data_ptr() % dtype.itemsize else view).view(dtype)
