"""The part of pickle that torch.save writes, read as data: nothing is imported, nothing is called.

A pickle is a program of a stack machine. This machine knows the opcodes by which Python writes plain values at
protocols 2 to 5, and the few calls that make a tensor, a dictionary, a set or a size (`inert.CALLS`). Any other name
that the program asks for becomes an `Opaque`, which forgets all that is done to it; a name that serves to run programs
ends the reading. Steps and bytes are bounded, so that memory and time are. Source: Lib/pickletools.py of CPython, which
documents every opcode.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import InvalidFile
from .format import MAX_HEADER
from .inert import CALLS, ORDERED, Global, Opaque, Storage, fill, storage

#: How many opcodes are run, and items handled. A whole training of Stable Diffusion, 4,000 tensors, takes 120,000.
MAX_STEPS = 2**20
#: What no weights need and attacks do. Every name is inert here; these tell what kind of file it is.
PROGRAMS = {
    "os",
    "posix",
    "nt",
    "subprocess",
    "pty",
    "pdb",
    "bdb",
    "runpy",
    "socket",
    "webbrowser",
    "shutil",
    "importlib",
    "ctypes",
}
FUNCTIONS = {"eval", "exec", "execfile", "compile", "open", "file", "input", "breakpoint", "__import__", "globals"}
BUILTINS = ("builtins", "__builtin__", "io", "_io")


class Machine:
    """The stack machine, over the bytes ``at .. stop`` of a file.

    `load` runs one pickle and leaves ``at`` behind it. ``storages`` holds those that were met, by key.
    """

    def __init__(self, path: Path, data: mmap.mmap, at: int, stop: int):
        self.path, self.data, self.at, self.stop = path, data, at, min(stop, at + MAX_HEADER)
        self.left = MAX_STEPS
        self.storages: dict[str, Storage] = {}
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The value of the next pickle: None, bool, int, float, str, list, tuple, dict, or a record of `inert`.

        Raises:
            InvalidFile: it asks for something that runs programs.
            ValueError, TypeError, LookupError, RecursionError, struct.error: it is damaged, or too long.
        """
        self.stack, self.marks, self.memo = [], [], {}
        while (code := self.take(1)) != b".":
            self.spend(1)
            if code not in OPERATIONS:
                raise ValueError(f"byte {self.at - 1:,} of its pickle is {code!r}, which torch.save does not write")
            OPERATIONS[code](self)
        return self.pop()

    def spend(self, steps: int) -> None:
        """Count work that a few bytes can ask for."""
        self.left -= steps
        if self.left < 0:
            raise ValueError(f"its pickle takes more than {MAX_STEPS:,} steps")

    # The bytes

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self.skip(count)
        return self.data[self.at - count : self.at]

    def skip(self, count: int) -> None:
        """Pass the next bytes."""
        if not 0 <= count <= self.stop - self.at:
            raise ValueError("its pickle is truncated, or too long")
        self.at += count

    def number(self, form: str) -> Any:
        """The next number, by its struct format."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        """The next line."""
        end = self.data.find(b"\n", self.at, min(self.stop, self.at + 512))
        if end < 0:
            raise ValueError("its pickle asks for a name without an end")
        return self.take(end + 1 - self.at)[:-1].decode("utf-8")

    # The stack and the memo

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle takes what it has not put")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def marked(self) -> list[Any]:
        """Take all since the last mark."""
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def remember(self, at: int) -> None:
        self.memo[at] = self.top()

    def recall(self, at: int) -> None:
        if at not in self.memo:
            raise ValueError("its pickle recalls what it has not remembered")
        self.push(self.memo[at])

    # Plain values

    def whole(self, length: int) -> None:
        """A whole number of so many bytes, which Python lets be of any length."""
        if not 0 <= length < 256:
            raise ValueError("its pickle holds a number without measure")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def text(self, length: int, encoding: str = "utf-8") -> None:
        self.push(self.take(length).decode(encoding))

    def binary(self, length: int) -> None:
        """Bytes, which are no part of a tensor."""
        self.skip(length)
        self.push(Opaque())

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise ValueError("its pickle appends to what is no list")

    def put(self, items: list[Any]) -> None:
        """Set items, given as key, value, key, value, ..."""
        target = self.top()
        if len(items) % 2 or not isinstance(target, dict | Opaque):
            raise ValueError("its pickle sets items of what is no dictionary")
        if isinstance(target, dict):
            fill(target, zip(items[::2], items[1::2], strict=True))

    # Names, calls and objects

    def ask(self, module: str, name: str) -> None:
        """What becomes of a name."""
        if module.partition(".")[0] in PROGRAMS or (module in BUILTINS and name.partition(".")[0] in FUNCTIONS):
            raise InvalidFile(
                f"{self.path} asks to run {module}.{name} when it is unpickled: it is an attack, not weights. "
                "Nothing was run, for "
                "no path of danqing executes a pickle. Delete it, and get the .safetensors file of the model from "
                "its author"
            )
        self.push(Global(module, name))

    def ask_stacked(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("its pickle asks for a name that is no text")
        self.ask(module, name)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(self.result(function, arguments))

    def result(self, function: Any, arguments: Any) -> Any:
        """What a call makes: a record for the calls that are known, an `Opaque` for any other."""
        self.spend(1)
        if not isinstance(arguments, tuple):
            raise ValueError("its pickle calls something without arguments")
        if isinstance(function, Global):
            if function in CALLS:
                return CALLS[function](self, *arguments)
            if function.module == "torch._utils" and function.name.startswith("_rebuild"):
                raise ValueError(f"it holds a tensor of a kind that is not read, made by {function.name}")
        return Opaque()

    def new(self, arguments: int) -> None:
        """An object of a class that was asked for."""
        for _ in range(arguments):
            self.pop()
        self.push({} if self.pop() == ORDERED else Opaque())

    def build(self) -> None:
        """Give an object its state: kept of a network, dropped of any other."""
        state, target = self.pop(), self.top()
        if isinstance(target, Opaque) and isinstance(state, dict) and "_parameters" in state:
            target.content = {}
            for kind in ("_parameters", "_buffers", "_modules"):
                if isinstance(items := state.get(kind), dict):
                    self.spend(len(items))
                    target.content |= items
            if isinstance(transient := state.get("_non_persistent_buffers_set"), list):
                self.spend(len(transient))
                for name in transient:
                    if isinstance(name, str):
                        target.content.pop(name, None)

    def external(self) -> None:
        """What a persistent id stands for."""
        found = storage(self.pop())
        if isinstance(found, Storage) and self.storages.setdefault(found.key, found) != found:
            raise ValueError(f"its storage {found.key!r} is described twice, differently")
        self.push(found)


#: The opcodes that are known, with their names in pickletools.
OPERATIONS: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": lambda m: m.skip(1),  # PROTO
    b"\x95": lambda m: m.skip(8),  # FRAME
    b"N": lambda m: m.push(None),  # NONE
    b"\x88": lambda m: m.push(True),  # NEWTRUE
    b"\x89": lambda m: m.push(False),  # NEWFALSE
    b"K": lambda m: m.push(m.number("<B")),  # BININT1
    b"M": lambda m: m.push(m.number("<H")),  # BININT2
    b"J": lambda m: m.push(m.number("<i")),  # BININT
    b"\x8a": lambda m: m.whole(m.number("<B")),  # LONG1
    b"\x8b": lambda m: m.whole(m.number("<i")),  # LONG4
    b"G": lambda m: m.push(m.number(">d")),  # BINFLOAT
    b"X": lambda m: m.text(m.number("<I")),  # BINUNICODE
    b"\x8c": lambda m: m.text(m.number("<B")),  # SHORT_BINUNICODE
    b"\x8d": lambda m: m.text(m.number("<Q")),  # BINUNICODE8
    b"U": lambda m: m.text(m.number("<B"), "latin-1"),  # SHORT_BINSTRING
    b"T": lambda m: m.text(m.number("<i"), "latin-1"),  # BINSTRING
    b"C": lambda m: m.binary(m.number("<B")),  # SHORT_BINBYTES
    b"B": lambda m: m.binary(m.number("<I")),  # BINBYTES
    b"\x8e": lambda m: m.binary(m.number("<Q")),  # BINBYTES8
    b"\x96": lambda m: m.binary(m.number("<Q")),  # BYTEARRAY8
    b")": lambda m: m.push(()),  # EMPTY_TUPLE
    b"t": lambda m: m.push(tuple(m.marked())),  # TUPLE
    b"\x85": lambda m: m.push((m.pop(),)),  # TUPLE1
    b"\x86": lambda m: m.push((m.pop(), m.pop())[::-1]),  # TUPLE2
    b"\x87": lambda m: m.push((m.pop(), m.pop(), m.pop())[::-1]),  # TUPLE3
    b"]": lambda m: m.push([]),  # EMPTY_LIST
    b"a": lambda m: m.append([m.pop()]),  # APPEND
    b"e": lambda m: m.append(m.marked()),  # APPENDS
    b"}": lambda m: m.push({}),  # EMPTY_DICT
    b"s": lambda m: m.put([m.pop(), m.pop()][::-1]),  # SETITEM
    b"u": lambda m: m.put(m.marked()),  # SETITEMS
    b"\x8f": lambda m: m.push([]),  # EMPTY_SET
    b"\x90": lambda m: m.append(m.marked()),  # ADDITEMS
    b"\x91": lambda m: m.push(m.marked()),  # FROZENSET
    b"(": lambda m: m.marks.append(len(m.stack)),  # MARK
    b"0": lambda m: m.pop(),  # POP
    b"1": lambda m: m.marked(),  # POP_MARK
    b"2": lambda m: m.push(m.top()),  # DUP
    b"q": lambda m: m.remember(m.number("<B")),  # BINPUT
    b"r": lambda m: m.remember(m.number("<I")),  # LONG_BINPUT
    b"\x94": lambda m: m.remember(len(m.memo)),  # MEMOIZE
    b"h": lambda m: m.recall(m.number("<B")),  # BINGET
    b"j": lambda m: m.recall(m.number("<I")),  # LONG_BINGET
    b"c": lambda m: m.ask(m.line(), m.line()),  # GLOBAL
    b"\x93": lambda m: m.ask_stacked(),  # STACK_GLOBAL
    b"R": lambda m: m.call(),  # REDUCE
    b"\x81": lambda m: m.new(1),  # NEWOBJ
    b"\x92": lambda m: m.new(2),  # NEWOBJ_EX
    b"b": lambda m: m.build(),  # BUILD
    b"Q": lambda m: m.external(),  # BINPERSID
}
