"""Which kernels run here: found or compiled, fit for the processor, and right in a test against float64."""

from __future__ import annotations

import ctypes
import functools
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from ...errors import DanqingError
from ...log import log
from ..places import place
from ..processor import cpu
from .build import BUILT, KERNELS, SETS, NotBuilt, compile, library
from .switch import VARIABLE, given, left_out


class NativeWarning(UserWarning):
    """A kernel is switched off, and torch computes in its place."""


class Missing(DanqingError):
    """Why a kernel is not used."""


def cache() -> Path:
    """The user's folder for compiled kernels."""
    return place("cache") / "native"


#: The kernels whose time is that of products in bf16.
PRODUCTS = ("attention_bf16", "direct", "linear", "winograd_bf16")


def candidates(name: str) -> list[str]:
    """The instruction sets of a kernel that this processor has, the best first."""
    found = [each for each in KERNELS[name] if cpu().flags.issuperset(SETS[each])]
    if name in PRODUCTS and "amx_bf16" in cpu().flags:
        # Torch multiplies with AMX there, and is more than twice as fast as attention without.
        found = [each for each in found if each == "amx-bf16"]
    return found


def opened(name: str, instructions: str) -> ctypes.CDLL:
    """A kernel's library: the package's, else the user's, compiled now if need be."""
    path = library(BUILT, name, instructions)
    try:
        if not path.exists():
            path = compile(name, instructions, cache())
        return ctypes.CDLL(str(path))
    except (NotBuilt, OSError) as reason:
        raise Missing(str(reason)) from None


@functools.cache
def pool() -> int:
    """The address of GOMP_parallel in this process, by which kernels share the threads of torch; 0 if there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):
        return 0


#: A reason that is not known yet.
LATER = "not looked for yet"
#: Below so many numbers one thread is done before a second one has begun.
FEW = 1 << 15


def threads(numbers: int) -> int:
    """How many threads to share work of so many numbers: as many as torch computes with, or one."""
    return torch.get_num_threads() if numbers > FEW else 1


class Kernel:
    """A kernel of one source: its functions once it is found, fit and tested.

    Args:
        name: of `KERNELS`.
        functions: the names of its functions; each takes the bytes of a struct and returns 0, or 1 without memory.
        test: computes with the library by the given functions, and says how far from float64 that is in units of what
            torch is in the same precision; anything above ``most`` switches the kernel off.
    """

    def __init__(self, name: str, functions: tuple[str, ...], test: Callable[[Kernel], float], most: float):
        self.name, self.names, self.test, self.most = name, functions, test, most
        self.functions: dict[str, Callable[[bytes], int]] = {}
        self.instructions = ""
        self._given, self._reason, self._lock = "", LATER, threading.Lock()

    def reason(self) -> str:
        """Why the kernel does not run here, "" if it does; the first question opens and tests it, as does the first
        after the switch was turned."""
        if self._reason is LATER or self._given != given():
            with self._lock:  # others wait until it is tested
                if self._reason is LATER or self._given != given():
                    self._look()
        return self._reason

    def _look(self) -> None:
        self.forget()
        try:
            self._open()
            self._reason = ""
        except Missing as reason:
            self.functions, self.instructions = {}, ""
            log.info("kernel %s: %s", self.name, reason)
            self._reason = str(reason)

    def _open(self) -> None:
        if self.name in left_out(self._given):
            raise Missing(f"left out by {VARIABLE}")
        if not (sets := candidates(self.name)):
            raise Missing(f"this processor has none of {', '.join(KERNELS[self.name])}")
        reasons = []
        for instructions in sets:
            try:
                return self._try(instructions)
            except Missing as reason:
                reasons.append(str(reason))
        raise Missing("; ".join(dict.fromkeys(reasons)))

    def _try(self, instructions: str) -> None:
        self.take(opened(self.name, instructions), instructions)
        with torch.inference_mode():
            distance = self.test(self)
        if not distance <= self.most:  # NaN too
            message = (
                f"the kernel {self.name} for {instructions} is wrong on this machine ({distance:.3g} times torch's own "
                f"error) and is switched off"
            )
            warnings.warn(message, NativeWarning, stacklevel=2)
            raise Missing(message)

    def take(self, found: ctypes.CDLL, instructions: str) -> None:
        """Call the functions of a library from now on.

        Raises:
            Missing: the system does not let this process use the instructions.
        """
        if hasattr(found, "usable") and not found.usable():
            raise Missing(f"the system lends no {instructions} to this process")
        for function in self.names:
            entry = getattr(found, function)
            entry.argtypes, entry.restype = [ctypes.c_char_p], ctypes.c_int
            self.functions[function] = entry
        self.instructions = instructions

    def forget(self) -> None:
        """Look anew at the next question."""
        self._given, self._reason, self.functions, self.instructions = given(), LATER, {}, ""
