"""The trainings of all shipped models, each `python -m experiments.NAME`.

Begun so, a training gives way to whatever else the machine does: it is niced, its threads wait without spinning (two
processes whose threads spin on the same cores slow each other five to fifty times), and pages that it has freed stay
its own, since fresh ones cost as much as the arithmetic on them. The environment's own settings go first.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt


def give_way() -> None:
    """Before torch is imported, whose threads read the environment once."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if hasattr(os, "nice"):
        os.nice(19)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


if sys.argv[0] == "-m":  # what Python calls a module while it looks for it
    give_way()
