"""The pages of memory that this process has freed: kept and huge for speed, or given back for room.

Every layer of a network writes numbers into memory that is new to it. glibc gives freed pieces of a few MB back to the
system and asks for them again, and the system fills each page of 4 KB with zeros when it is touched: as much work as
the layer's own. Whoever starts a process for painting alone, as the command line does, has it keep them. A library
never does: the process is somebody else's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

#: Of glibc's mallopt: how much at the heap's end is given back, from what size on pieces lie in pages of their own, and
#: how many such there may be.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
#: Of Linux's madvise.
MADV_HUGEPAGE = 14
HUGE = 2 << 20


def on_glibc(work: Callable[[Any], None]) -> None:
    """Do something with the C library where it is glibc; nothing elsewhere."""
    with suppress(OSError, AttributeError, TypeError):  # another system, another C library
        library = ctypes.CDLL(None)
        if library.gnu_get_libc_version:
            work(library)


@cache
def keep() -> None:
    """From now on keep freed pages, and have the system back the heap with huge ones.

    The heap grows once by as much address space as half of the memory there is: none of it is in memory before it is
    touched, and then by 2 MB at a time where the system has huge pages for who asks for them.
    """
    on_glibc(_keep)


def _keep(library: Any) -> None:
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)  # never
    if promised():
        return
    library.sbrk.restype = library.malloc.restype = ctypes.c_void_p
    end = ctypes.c_ssize_t(0)
    before = library.sbrk(end)
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") // 2
    library.free(ctypes.c_void_p(library.malloc(ctypes.c_size_t(half))))
    first, last = -(-before // HUGE) * HUGE, library.sbrk(end) // HUGE * HUGE
    if first < last:
        library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_HUGEPAGE)


def promised() -> bool:
    """Whether the system counts address space as if it were used."""
    with suppress(OSError):
        return Path("/proc/sys/vm/overcommit_memory").read_text(encoding="ascii").strip() == "2"
    return False


@cache
def frugal() -> None:
    """From now on give back every piece of 4 MB and more at once: glibc keeps those of up to 32 MB otherwise, which
    costs half as much again of what is alive."""
    on_glibc(_frugal)


def _frugal(library: Any) -> None:
    library.mallopt(M_MMAP_MAX, 1 << 16)
    library.mallopt(M_TRIM_THRESHOLD, 128 << 10)
    library.mallopt(M_MMAP_THRESHOLD, 4 << 20)
