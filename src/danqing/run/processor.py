"""The processor: what it says of itself, and how much of it this process may use. Known without loading torch."""

from __future__ import annotations

import functools
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
#: Instruction sets worth telling apart, the most capable first, by the flag that shows them.
CLASSES = (
    ("amx-bf16", "amx_bf16"),
    ("avx512-bf16", "avx512_bf16"),
    ("avx512", "avx512f"),
    ("avx2", "avx2"),
    ("neon-bf16", "bf16"),
    ("neon", "asimd"),
)


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """What this machine's processor says of itself.

    Args:
        model: its name, as it states it.
        flags: its instruction-set flags in Linux's spelling; empty where nobody tells.
    """

    model: str
    flags: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The most capable of `CLASSES` among the flags, or the bare architecture's name."""
        return next((name for name, flag in CLASSES if flag in self.flags), platform.machine().lower() or "unknown")


def parse_cpuinfo(text: str) -> Cpu:
    """Read the first processor of a /proc/cpuinfo, of x86 ("flags") or of ARM ("Features")."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    flags = fields.get("flags") or fields.get("features") or ""
    return Cpu(model=fields.get("model name") or platform.machine(), flags=frozenset(flags.lower().split()))


@functools.cache
def cpu() -> Cpu:
    """This machine's processor: from /proc/cpuinfo, elsewhere from torch."""
    try:
        return parse_cpuinfo(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        import torch

        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        names = {name for name, value in capabilities.items() if value is True}
        model = str(capabilities.get("cpu_name") or platform.processor() or platform.machine())
        return Cpu(model=model, flags=frozenset("avx512f" if name == "avx512_f" else name for name in names))


def quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    """How many processors a container may keep busy, infinity without a limit."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # no such file, another system, or "max"
        return math.inf


def allowed() -> int:
    """On how many processors this process may run at once, >= 1."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(here, quota())))


def cores(root: Path = Path("/sys/devices/system/cpu")) -> int:
    """How many cores those processors are of, >= 1: two of hyperthreading are one."""
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    try:
        found = len({(root / f"cpu{one}/topology/thread_siblings_list").read_text() for one in here})
    except OSError:  # another system
        return allowed()
    return min(found, allowed())
