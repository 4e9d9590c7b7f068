"""What a pickle of torch.save may make, as records: they name numbers in the file and can do nothing.

Source: torch/_utils.py and torch/_tensor.py of PyTorch, whose functions a pickle names to rebuild its tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from .format import BITS, TORCH_NAMES

#: How many dimensions a tensor may have, as in torch.
MAX_DIMS = 64
#: How many numbers a tensor may have that its storage lacks, by repeating some.
MAX_REPEATED = 2**24
#: The safetensors names of the types of tensors, by torch's; those that safetensors lacks under names of the same kind.
DTYPES = {
    **TORCH_NAMES,
    **{
        "complex128": "C128",
        "float8_e5m2fnuz": "F8_E5M2FNUZ",
        "float8_e4m3fnuz": "F8_E4M3FNUZ",
        "float8_e8m0fnu": "F8_E8M0",
    },
}
#: Bytes of one number, by the name of its type.
BYTES = {name: {**BITS, "C128": 128}[name] // 8 for name in DTYPES.values()}
#: The types of numbers, by the name of torch's class of storages.
STORAGES = {
    **{
        "DoubleStorage": "F64",
        "FloatStorage": "F32",
        "HalfStorage": "F16",
        "BFloat16Storage": "BF16",
        "BoolStorage": "BOOL",
    },
    **{"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8"},
    **{"ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128", "UntypedStorage": "U8"},
}


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle asks for."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that lie outside the pickle, under a key."""

    key: str
    dtype: str
    count: int

    @property
    def bytes(self) -> int:
        """How long it is."""
        return self.count * BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Strided:
    """A tensor: element (i, j, ...) is number ``offset + i * stride[0] + j * stride[1] + ...`` of its storage."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class Opaque:
    """Anything else. Of a network's object, ``content`` holds the parameters, buffers and sub-networks by name."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: dict[Any, Any] | None = None


class Unpickler(Protocol):
    """Whoever runs the pickle, as far as a call needs it."""

    def spend(self, steps: int) -> None:
        """Count work that a few bytes can ask for."""

    def result(self, function: Any, arguments: Any) -> Any:
        """What a call makes."""


def fill(target: dict[Any, Any], pairs: Iterable[Any]) -> None:
    """Set the items that a name can reach. Others name no tensor, and may cost much to hash."""
    for key, value in pairs:
        if type(key) is str or (type(key) is int and abs(key) < 2**60):
            target[key] = value


def storage(said: Any) -> Storage | Global | Opaque:
    """What a persistent id stands for: ("storage", class, key, device, count), and one more None in the old form."""
    parts: list[Any] = list(said) if isinstance(said, tuple) and len(said) <= 6 else []
    if len(parts) == 4 and parts[0] == "module" and isinstance(parts[1], Global):
        return parts[1]  # the old form names a network's class so, with its source, which is dropped
    if len(parts) < 5 or parts[0] != "storage" or parts[5:] not in ([], [None]):
        raise ValueError("its pickle refers to something that is no storage")
    _, kind, key, _, count = parts[:5]
    if not (isinstance(kind, Global) and isinstance(key, str) and type(count) is int and 0 <= count < 2**60):
        raise ValueError("its pickle describes a storage that cannot be")
    if kind.module not in ("torch", "torch.cuda", "torch.storage") or kind.name not in STORAGES:
        return Opaque()
    return Storage(key, STORAGES[kind.name], count)


def ordered(unpickler: Unpickler, items: Any = ()) -> dict[Any, Any]:
    """A dictionary, from nothing or from pairs, as Python 2 wrote them."""
    unpickler.spend(len(items))
    if not isinstance(items, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in items
    ):
        raise ValueError("its pickle makes a dictionary of something else than pairs")
    result: dict[Any, Any] = {}
    fill(result, items)
    return result


def unordered(unpickler: Unpickler, items: Any = ()) -> Any:
    """A set, which is a list here."""
    return items if isinstance(items, list) else Opaque()


def size(unpickler: Unpickler, shape: Any = ()) -> Any:
    """A torch.Size, which is a tuple here."""
    return shape if isinstance(shape, tuple) else Opaque()


def parameter(unpickler: Unpickler, data: Any, *more: Any) -> Any:
    """A Parameter, which is its tensor here."""
    return data


def subclassed(unpickler: Unpickler, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor of a class of its own, or with attributes: the bare tensor here."""
    return unpickler.result(function, arguments)


def tensor(unpickler: Unpickler, numbers: Any, offset: Any, shape: Any, stride: Any, *more: Any) -> Strided:
    """A tensor of its storage's type. ``more``: whether it wants gradients, its hooks, flags of a lazy view."""
    return typed(unpickler, numbers, offset, shape, stride, None, None, None, *more[2:])


def typed(
    unpickler: Unpickler,
    numbers: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    gradient: Any,
    hooks: Any,
    kind: Any,
    flags: Any = None,
) -> Strided:
    """A tensor of the type ``kind``, every number of which must lie in the storage ``numbers``."""
    if not isinstance(numbers, Storage):
        raise ValueError("it holds a tensor whose numbers are of a kind that is not read")
    if not (isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= MAX_DIMS):
        raise ValueError("its pickle builds a tensor without a shape")
    unpickler.spend(len(shape))
    if not all(type(n) is int and 0 <= n < 2**60 for n in (offset, *shape, *stride)):
        raise ValueError("its pickle builds a tensor with a shape, stride or offset that is no natural number")
    if isinstance(flags, dict) and flags:
        raise ValueError(
            "it holds a view that is conjugate or negative when used: save a copy of it with resolve_conj() or "
            "resolve_neg()"
        )
    named = kind.name if isinstance(kind, Global) and kind.module == "torch" else ""
    dtype = numbers.dtype if kind is None else DTYPES.get(named)
    if dtype is None:
        raise ValueError(f"it holds a tensor of a type that is not read ({named})")
    room, count = numbers.bytes // BYTES[dtype], math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if count else offset - 1
    if last >= room:
        raise ValueError(f"it holds a tensor {list(shape)} that reaches beyond its storage of {room:,} numbers")
    if count > room + MAX_REPEATED:
        raise ValueError(f"it holds a tensor {list(shape)} of only {room:,} numbers")
    return Strided(numbers, dtype, shape, stride, offset)


ORDERED = Global("collections", "OrderedDict")
#: The calls that make something; the first argument is the unpickler, for its count of steps.
CALLS: dict[Global, Callable[..., Any]] = {
    ORDERED: ordered,
    Global("builtins", "set"): unordered,
    Global("__builtin__", "set"): unordered,
    Global("torch", "Size"): size,
    Global("torch._utils", "_rebuild_tensor"): tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): tensor,
    Global("torch._utils", "_rebuild_tensor_v3"): typed,
    Global("torch._utils", "_rebuild_parameter"): parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): parameter,
    Global("torch._tensor", "_rebuild_from_type"): subclassed,
    Global("torch._tensor", "_rebuild_from_type_v2"): subclassed,
}
