"""Where tensors come from and go to: safetensors files, and nothing that could run a program.

A file is an 8-byte little-endian length n, n bytes of JSON (name -> dtype, shape, offsets; ``__metadata__``: strings),
then the tensors' bytes without gaps. `header` reads that JSON alone and needs no torch. Source: the description of the
format in the README of huggingface/safetensors.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import InvalidFile

if TYPE_CHECKING:
    from torch import Tensor

#: Bits of one number, by the format's name of its type.
BITS = {
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8},
    **{"F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8},
    **{"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16},
    **{"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64},
}
#: The types that `write` writes, by torch's name.
TORCH_NAMES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL", "complex64": "C64"},
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8"},
    **{"uint64": "U64", "uint32": "U32", "uint16": "U16", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3"},
}
#: The largest header that is read. Real ones stay under 10 MiB; a hostile one is refused before memory is spent on it.
MAX_HEADER = 32 * 2**20

PICKLE = (
    "holds a pickle, which can run any program when it is read; no path of danqing executes a pickle. "
    "Get the .safetensors file of the same model, or convert it yourself where you trust its source: "
    "safetensors.torch.save_file(torch.load(file, weights_only=True), 'new.safetensors')"
)
PAGE = "is a web page, not weights: the download was answered by a page, perhaps one to log in"
#: What else a file may be, by its first bytes.
MAGIC = (
    (b"PK\x03\x04", PICKLE),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"GGUF", "is a GGUF file of quantised weights: get the .safetensors file of the same model"),
    (b"version https://git-lfs", "is a pointer of git-lfs, not the weights: run `git lfs pull` in its repository"),
    (b"<!", PAGE),
    (b"<html", PAGE),
    (b"\x89HDF", "is an HDF5 file: get the .safetensors file of the same model"),
    (b"\x89PNG", "is a picture, not weights"),
    (b"\xff\xd8\xff", "is a picture, not weights"),
)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One tensor as the header states it: the format's name of its type, the shape, its bytes ``start .. stop``."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a safetensors file says before its data.

    Args:
        path: of the file.
        tensors: by name, in the order of the data.
        metadata: the strings that whoever wrote it left.
        size: of the whole file, in bytes.
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


def header(path: str | os.PathLike[str]) -> Header:
    """Read and check a safetensors file's header, and nothing behind it.

    Raises:
        InvalidFile: missing, a folder, empty, truncated, no safetensors (a pickle among others), or a header that
            contradicts itself or the file's size. The message says which, and what to do.
    """
    path = Path(path)
    if path.is_dir():
        raise InvalidFile(f"{path} is a folder: name one .safetensors file in it")
    if not path.exists():
        raise InvalidFile(f"there is no file {path}: check the path")
    if not path.is_file():
        raise InvalidFile(f"{path} is no regular file: name a .safetensors file")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(32)
            length = int.from_bytes(start[:8], "little")
            if size < 8 or length > min(MAX_HEADER, size - 8) or start[8:9] != b"{":
                _refuse(path, start, size, length)
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise InvalidFile(f"cannot read {path}: {error.strerror or error}") from None
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
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
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidFile(f"{path} has a corrupted header ({error}): copy or download it again") from None
    if not tensors:
        raise InvalidFile(f"{path} is a safetensors file without a single tensor: copy or download it again")
    if 8 + length + stop != size:
        what = "truncated" if size < 8 + length + stop else "longer than its header says"
        whole = f"{8 + length + stop:,}"
        raise InvalidFile(f"{path} is {what}: {size:,} bytes instead of {whole}. Copy or download it again")
    return Header(path=path, tensors=tensors, metadata=metadata, size=size)


def _refuse(path: Path, start: bytes, size: int, length: int) -> NoReturn:
    """Say what a file is that is no safetensors file."""
    if not size:
        raise InvalidFile(f"{path} is empty: copy or download it again")
    for magic, reason in MAGIC:
        if start.lower().startswith(magic.lower()):
            raise InvalidFile(f"{path} {reason}")
    if start[8:9] == b"{" and length <= MAX_HEADER:
        raise InvalidFile(f"{path} is truncated: its header alone has {length:,} bytes, the file {size:,}. Copy or download it again")
    if start[8:9] == b"{":
        raise InvalidFile(f"{path} claims a header of {length:,} bytes: corrupted, for real ones stay under {MAX_HEADER:,}")
    if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin", ".pkl"):
        raise InvalidFile(f"{path} is no safetensors file, and by its name it {PICKLE}")
    raise InvalidFile(f"{path} is no safetensors file: its first bytes are {start[:8]!r}. Name a .safetensors file")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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


def read(path: str | os.PathLike[str], names: Iterable[str] | None = None, device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name. On the CPU they are views of the mapped file, read when used.

    Args:
        names: which ones; None for all.
        device: where to put them.

    Raises:
        InvalidFile: as for `header`; or a name that is not in it.
    """
    from safetensors import SafetensorError, safe_open

    head = header(path)
    wanted = list(head.tensors) if names is None else list(names)
    if absent := [name for name in wanted if name not in head.tensors]:
        raise InvalidFile(f"{path} has no tensor {absent[0]!r}")
    try:
        with safe_open(os.fspath(path), framework="pt", device=device) as file:
            return {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError, AttributeError, KeyError) as error:
        raise InvalidFile(f"cannot read {path}: {error}") from None


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file whole or not at all: beside its place first, then renamed onto it.

    The same tensors and metadata make the same bytes, so that a SHA-256 names them.

    Raises:
        InvalidFile: no tensor, one of a type that the format lacks, or a place that cannot be written (folder missing
            or read-only, disk full); then nothing is left behind and a file that was there stays as it was.
    """
    path = Path(path)
    if not tensors:
        raise InvalidFile(f"there is nothing to write to {path}: no tensors were given")
    types = {}
    for name, tensor in tensors.items():
        types[name] = TORCH_NAMES.get(str(tensor.dtype).removeprefix("torch."))
        if types[name] is None or tensor.is_meta or tensor.is_sparse:
            kind = f"{tensor.dtype}, {tensor.device}, {tensor.layout}"
            raise InvalidFile(f"cannot write {name!r} to {path}: safetensors holds no such tensor ({kind})")
    # The widest numbers first keep every tensor aligned to its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    stop = 0
    for name in order:
        start, stop = stop, stop + tensors[name].numel() * tensors[name].element_size()
        entries[name] = {"dtype": types[name], "shape": list(tensors[name].shape), "data_offsets": [start, stop]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)

    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                file.write(_bytes(tensors[name]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        reasons = {errno.ENOSPC: "the disk is full", errno.ENOENT: "its folder does not exist"}
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise InvalidFile(f"cannot write {path}: {reason}. Nothing was left behind; choose another place") from None
    finally:
        beside.unlink(missing_ok=True)
    return path


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's numbers, row-major, as bytes."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        InvalidFile: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidFile(f"cannot read {path}: {error.strerror or error}") from None
