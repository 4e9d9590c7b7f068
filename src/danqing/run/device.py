"""The machine: which device paints, and how many threads it may use."""

from __future__ import annotations

import functools
import math
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InvalidInput, UnknownName
from .processor import allowed


def available() -> list[str]:
    """The kinds of device that this machine has and this torch can use, the fastest first."""
    usable = {"cuda": torch.cuda.is_available, "xpu": torch.xpu.is_available, "mps": torch.backends.mps.is_available}
    return [*(name for name, there in usable.items() if there()), "cpu"]


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device to compute on: the one named, or the fastest that is there.

    Args:
        name: "cpu", "cuda", "cuda:1", "mps", "xpu"; None or "auto" for the first of cuda, xpu, mps, cpu.

    Raises:
        UnknownName: a name that is no kind of device.
        InvalidInput: a device that this machine has not, or this torch was built without.
    """
    here = available()
    if name is None or str(name) == "auto":
        return torch.device(here[0])
    kind, _, index = str(name).lower().partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps", "xpu"):
        raise UnknownName("device", str(name), ("auto", "cpu", "cuda", "mps", "xpu"))
    if kind not in here:
        raise InvalidInput(
            f"the device {name} is not usable here with torch {torch.__version__}: use {' or '.join(here)}"
        )
    counts = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count}
    count = counts[kind]() if kind in counts else 1
    if index and not (index.isdecimal() and int(index) < count):
        raise InvalidInput(f"there is no device {name}: {kind} devices here are numbered 0 to {count - 1}")
    return torch.device(kind, int(index)) if index else torch.device(kind)


def send(tensor: Tensor, where: torch.device) -> Tensor:
    """A tensor of the CPU on a device, of the same shape and numbers.

    CUDA alone copies while the CPU goes on, and only from pinned memory; torch keeps that until the copy is done.
    """
    return tensor.pin_memory().to(where, non_blocking=True) if where.type == "cuda" else tensor.to(where)


def free(where: torch.device, root: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> float:
    """Bytes of memory that a device still has for whoever asks, infinity where nobody tells: on the processor what the
    system can give without swapping, within the limit of the container."""
    if where.type == "cuda":
        kept = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)  # by torch, for the next tensor
        return torch.cuda.mem_get_info(where)[0] + kept
    room = math.inf
    with suppress(OSError, LookupError, ValueError):  # another system
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        room = 1024 * int(fields["MemAvailable"].split()[0])
    with suppress(OSError, LookupError, ValueError):  # no container, or none with a limit: "max"
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        held = int((root / "memory.current").read_text()) - int(stat["inactive_file"])
        room = min(room, max(0, int((root / "memory.max").read_text()) - held))
    return room


def threads() -> int:
    """How many threads to compute with: torch's own choice, but no more than this process may run on, >= 1."""
    return min(torch.get_num_threads(), allowed())


@functools.cache
def survive_forks() -> None:
    """From now on a process that is forked from this one computes with one thread: the others of OpenMP are not in it,
    and it would wait for them for ever."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
