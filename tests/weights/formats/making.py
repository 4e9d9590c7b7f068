"""Files built byte by byte: sound ones, and ones that no writer makes."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def touch(path: str) -> None:
    """What an attack would do: here it leaves a file."""
    Path(path).touch()


class Made:
    """A class that leaves a file when one is made."""

    def __new__(cls, path: str):
        touch(path)
        return super().__new__(cls)


class Stated:
    """A class that leaves a file when one is given its state."""

    def __setstate__(self, state: str) -> None:
        touch(state)


def text(value: str) -> bytes:
    """Opcodes that push a text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(value: int) -> bytes:
    """Opcodes that push a whole number of any size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def several(*items: bytes) -> bytes:
    """Opcodes that push a tuple."""
    return b"(" + b"".join(items) + b"t"


def reference(key: str = "0", count: int = 6, kind: bytes = b"ctorch\nFloatStorage\n", *more: bytes) -> bytes:
    """Opcodes that push a storage."""
    return several(text("storage"), kind, text(key), text("cpu"), whole(count), *more) + b"Q"


def tensor(shape=(2, 3), stride=(3, 1), offset=0, storage: bytes | None = None) -> bytes:
    """Opcodes that push a tensor."""
    sizes = [several(*map(whole, numbers)) for numbers in (shape, stride)]
    arguments = several(storage or reference(), whole(offset), *sizes, b"\x89", b"ccollections\nOrderedDict\n)R")
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def program(**items: bytes) -> bytes:
    """A pickle of a dictionary."""
    return b"\x80\x04}(" + b"".join(text(name) + value for name, value in items.items()) + b"u."


def zip_file(description: bytes, storages: dict[str, bytes], method: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """The form of torch.save since 2020; ``more`` are entries beside."""
    buffer = io.BytesIO()
    entries = {"data.pkl": description, "byteorder": b"little", **{f"data/{k}": v for k, v in storages.items()}, **more}
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def old_file(
    description: bytes, storages: list[tuple[str, int, bytes]], little: bool = True, keys: list | None = None
) -> bytes:
    """The form before: keys, counts and bytes."""
    listed = [key for key, *_ in storages] if keys is None else keys
    parts = [pickle.dumps(value, protocol=2) for value in (MAGIC, VERSION, {"little_endian": little})]
    parts += [description, pickle.dumps(listed, protocol=2)]
    return b"".join(parts) + b"".join(struct.pack("<q", count) + data for _, count, data in storages)


def gguf_text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def gguf_info(name: str | bytes = "w", dims=(3, 2), kind: int = 0, offset: int = 0) -> bytes:
    """The description of a tensor."""
    return gguf_text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf_pair(key: str, kind: int, value: bytes) -> bytes:
    """A pair of metadata."""
    return gguf_text(key) + struct.pack("<I", kind) + value


def gguf_file(
    infos=None, pairs=(), data: bytes = bytes(24), version: int = 3, counts: tuple[int, int] | None = None
) -> bytes:
    """A GGUF file; ``counts`` are what it claims to hold."""
    infos = [gguf_info()] if infos is None else infos
    head = (
        b"GGUF"
        + struct.pack("<IQQ", version, *(counts or (len(infos), len(pairs))))
        + b"".join(pairs)
        + b"".join(infos)
    )
    return head + bytes(-len(head) % 32) + data


def safetensors_file(header: object, data: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data
