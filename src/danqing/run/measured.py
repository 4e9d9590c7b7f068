"""What was measured to paint fastest on this machine, once, by ``danqing doctor --measure``. Known without loading
torch.

It counts behind all that anybody says, and before what is usual. It is read once in the life of a process and nothing
but that command writes it, so no picture depends on what was painted before. A file that is damaged, foreign or of
another machine is as good as none.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidFile
from ..version import __version__
from .places import place
from .processor import allowed, cores, cpu

PRECISIONS = ("fp32", "bf16", "fp16")
#: More threads than this are an error.
MOST = 1024


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How to compute on a processor; what is empty is not chosen.

    Args:
        precision: of `PRECISIONS`.
        engine: of `danqing.run.engine.engines.ENGINES`.
        kernels: whether danqing's own compute, "on" or "off".
        threads: how many, 0 for no choice.
    """

    precision: str = ""
    engine: str = ""
    kernels: str = ""
    threads: int = 0

    def __str__(self) -> str:
        said = f"{self.precision}, engine {self.engine}, kernels {self.kernels}, threads {self.threads}"
        return said if self.precision else ""


NOTHING = Choice()


def machine() -> dict[str, Any]:
    """What a measurement holds for."""
    from importlib import metadata  # late, as most machines are never measured

    from .native.build import digest

    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = ""
    return {
        "cpu": cpu().model,
        "flags": " ".join(sorted(cpu().flags)),
        "processors": allowed(),
        "cores": cores(),
        "torch": torch,
        "danqing": __version__,
        "kernels": digest(),
    }


def folder() -> Path:
    """Where measurements lie, a file for each kind of machine that shares the user's home."""
    return place("cache") / "measured"


def path() -> Path:
    """The file of this machine's measurement; perhaps not there."""
    return folder() / f"{hashlib.sha256(json.dumps(machine()).encode()).hexdigest()[:16]}.json"


def read() -> dict[str, Any]:
    """This machine's measurement as it was written; nothing where there is none."""
    if not folder().is_dir():  # most machines are never measured, and need not be looked at
        return {}
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        return found if found["machine"] == machine() and _choice(found["chosen"]) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


@functools.cache
def chosen() -> Choice:
    """What was measured to be the fastest; asked anew by the next process."""
    return _choice(read().get("chosen")) or NOTHING


def _choice(said: Any) -> Choice | None:
    """A choice as it was written; None for anything else."""
    try:
        found = Choice(**said)
        fits = found.precision in PRECISIONS and found.kernels in ("on", "off") and isinstance(found.engine, str)
        return found if fits and type(found.threads) is int and 0 < found.threads <= MOST else None
    except TypeError:
        return None


def write(choice: Choice, more: Mapping[str, Any]) -> Path:
    """Keep a choice for this machine, with what it was measured from.

    Raises:
        InvalidFile: it cannot be written.
    """
    from .. import atomic

    where = path()
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        said = {**more, "machine": machine(), "chosen": asdict(choice)}
        atomic.write(where, json.dumps(said).encode())
    except OSError as error:
        raise InvalidFile(f"{where} cannot be written: {error.strerror or error}") from None
    return where


def forget() -> None:
    """Let go of this machine's measurement, if there is one.

    Raises:
        InvalidFile: it cannot be removed.
    """
    where = path()
    try:
        where.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidFile(f"{where} cannot be removed: {error.strerror or error}") from None
