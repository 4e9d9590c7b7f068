"""Where tensors come from and go to: files of several formats in, safetensors out, and nothing that could run a
program.

`FORMATS` is the one list of what is read; `header`, `each` and `read` work on all of it alike. `header` needs no torch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import atomic
from ..errors import InvalidFile
from ..log import log
from .formats import safe
from .formats.format import BITS, MAX_HEADER, TORCH_NAMES, Format, Header, Spec, beginning, find
from .formats.gguf import GGUF
from .formats.ncnn import NCNN
from .formats.safe import SAFETENSORS
from .formats.saved import SAVED
from .formats.sharded import over
from .wrapped import unwrapped

if TYPE_CHECKING:
    from torch import Tensor

    from .bits import Stored

__all__ = [
    "BITS",
    "FORMATS",
    "MAX_HEADER",
    "TORCH_NAMES",
    "Header",
    "Spec",
    "each",
    "header",
    "kept",
    "known",
    "read",
    "sha256",
    "write",
]

#: The formats of one file. safetensors is last: it is known by its ninth byte, which the others may have too.
SINGLE: tuple[Format, ...] = (SAVED, GGUF, NCNN, SAFETENSORS)
#: Every format that is read; the first that knows a file reads it.
FORMATS: tuple[Format, ...] = (over(SINGLE), *SINGLE)

PICKLE = (
    "holds a pickle that torch.save did not write, which can run any program; no path of danqing executes a pickle. "
    "Get the .safetensors file of the same model, or convert it yourself where you trust its source: "
    "safetensors.torch.save_file(torch.load(file, weights_only=True), 'new.safetensors')"
)
PAGE = "is a web page, not weights: the download was answered by a page, perhaps one to log in"
#: What else a file may be, by its first bytes.
MAGIC = (
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"version https://git-lfs", "is a pointer of git-lfs, not the weights: run `git lfs pull` in its repository"),
    (b"<!", PAGE),
    (b"<html", PAGE),
    (b"\x00\x05\x16\x07", "is what macOS keeps beside a file, not weights: name the file without ._ before its name"),
    (b"\x89HDF", "is an HDF5 file: get the .safetensors file of the same model"),
    (b"\x89PNG", "is a picture, not weights"),
    (b"\xff\xd8\xff", "is a picture, not weights"),
)


def header(path: str | os.PathLike[str]) -> Header:
    """Read and check what a file of any of `FORMATS` says before its data: names, types, shapes.

    Raises:
        InvalidFile: missing, a folder, empty, truncated, of another format, or it contradicts itself or its size; it
            would run a program if its pickle were executed. The message says which, and what to do.
    """
    return known(Path(path))[1]


def each(
    path: str | os.PathLike[str], names: Iterable[str] | None = None, device: str = "cpu"
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file one after another, in any order, so that what is done with one can end before the next is
    made.

    On the CPU they are views of the mapped file, read when used. Those of quantised blocks are made, as float32.

    Args:
        names: which ones; None for all.
        device: where to put them.

    Raises:
        InvalidFile: as for `header`; or a name that is not in it.
    """
    form, head = known(Path(path))
    yield from _taken(form, head, head.tensors if names is None else names, device)


def read(path: str | os.PathLike[str], names: Iterable[str] | None = None, device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a file, by name, in the order of the names or of the file. For the rest see `each`."""
    form, head = known(Path(path))
    wanted = list(head.tensors if names is None else names)
    found = dict(_taken(form, head, wanted, device))
    return {name: found[name] for name in wanted}


def kept(path: str | os.PathLike[str]) -> Mapping[str, Stored]:
    """The weights of a file that it keeps in few bits, as it keeps them: views of the mapped file, read when used. None
    in any but safetensors files that are written so; `each` and `read` give what they stand for.

    Raises:
        InvalidFile: as for `header`.
    """
    form, head = known(Path(path))
    return safe.kept(head) if form is SAFETENSORS else {}


def _taken(form: Format, head: Header, names: Iterable[str], device: str) -> Iterator[tuple[str, Tensor]]:
    wanted = list(dict.fromkeys(names))
    if absent := [name for name in wanted if name not in head.tensors]:
        raise InvalidFile(f"{head.path} has no tensor {absent[0]!r}")
    log.info("opened %s for %d of its tensors", head.path, len(wanted))
    return form.tensors(head, wanted, device)


#: What `at_hand` has found out; None outside.
_HAND: ContextVar[dict[Path, tuple[Format, Header]] | None] = ContextVar("hand", default=None)


@contextmanager
def at_hand(paths: Iterable[Path]) -> Iterator[None]:
    """While a model is loaded from these files: each header is read once, and the system reads on in the files
    meanwhile."""
    for path in set(paths):
        threading.Thread(target=_read_ahead, args=(path,), daemon=True).start()
    before = _HAND.set({})
    try:
        yield
    finally:
        _HAND.reset(before)


def _read_ahead(path: Path) -> None:
    """Let the system read a file into its cache, as far as it thinks fit; whatever hinders that is for the reader to
    say."""
    with suppress(OSError, AttributeError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def known(path: Path) -> tuple[Format, Header]:
    """A file's format and its header, checked as `header` does."""
    hand = _HAND.get()
    if hand is not None and path in hand:
        return hand[path]
    form = find(path, FORMATS)
    found = (form, unwrapped(form.header(path)) if form in SINGLE else form.header(path)) if form else _refuse(path)
    if hand is not None:
        hand[path] = found
    return found


def _refuse(path: Path) -> NoReturn:
    """Say what a file is that is of no format."""
    start = beginning(path)
    for magic, reason in MAGIC:
        if start.lower().startswith(magic.lower()):
            raise InvalidFile(f"{path} {reason}")
    if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin", ".pkl"):
        raise InvalidFile(f"{path} is no file of torch.save, and by its name it {PICKLE}")
    kinds = "no safetensors file, nor one of torch.save, GGUF, ncnn or an index"
    raise InvalidFile(f"{path} is {kinds}: its first bytes are {start[:8]!r}. Name a .safetensors file")


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
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

    try:
        with atomic.writing(path) as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                file.write(_bytes(tensors[name]))
    except OSError as error:
        reasons = {errno.ENOSPC: "the disk is full", errno.ENOENT: "its folder does not exist"}
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise InvalidFile(f"cannot write {path}: {reason}. Nothing was left behind; choose another place") from None
    return path


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's numbers, row-major, as bytes."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def sha256(path: str | os.PathLike[str], *, tensors: bool = False) -> str:
    """The SHA-256 of a file, in hex.

    Args:
        tensors: of what follows the header of a safetensors file alone, which other metadata leave as it is.

    Raises:
        InvalidFile: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            if tensors and Path(path).suffix == ".safetensors":
                file.seek(8 + int.from_bytes(file.read(8), "little"))
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidFile(f"cannot read {path}: {error.strerror or error}") from None
