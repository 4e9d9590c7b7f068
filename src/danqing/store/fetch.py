"""Fetching what is planned: each file once, whichever of several processes does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from .. import atomic
from ..errors import InvalidFile
from . import library
from .cache import Cache, stamp
from .download import Progress, arrived, connect, download, key_of, part_of, unwritable

#: Seconds between two looks at what another process has fetched.
WAIT = 0.5


@dataclass(frozen=True, kw_only=True)
class File:
    """One file to fetch: from where to where, and what is known of it beforehand."""

    url: str
    path: Path
    size: int | None = None
    sha256: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `fetch` fetches.

    Args:
        path: what it makes: a file, or the folder of a model.
        files: in order; what makes a folder a model comes last, so that half of one is none.
        notes: what is not as asked for, in words.
    """

    path: Path
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


def fetch(wanted: Plan, *, force: bool = False) -> Iterator[Progress]:
    """Fetch what is planned, file by file; what is here already stays. Of several processes that fetch one file the
    first does, and the others wait for it.

    Args:
        force: replace files that are here and differ.

    Raises:
        InvalidFile: a file is here that is another, or may be.
        NotAllowed, NotReached, InvalidInput: as for `danqing.store.download.download`.
    """
    before = {file.path: stamp(file.path) for file in wanted.files}
    missing = [file for file in wanted.files if not _here(file, force)]
    with connect() as client:
        for file in missing:
            with ExitStack() as stack:
                yield from _turn(file, stack)
                if not (_come(file, before[file.path]) or _here(file, force)):
                    yield from _fetch(client, file)


def _turn(file: File, stack: ExitStack) -> Iterator[Progress]:
    """Keep others from the place of a file, once they have left it; how far they are meanwhile."""
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidFile(unwritable(file.path, error)) from None
    while True:
        try:
            return stack.enter_context(atomic.alone(file.path, WAIT))
        except atomic.Busy:
            yield Progress(file.path.name, arrived(part_of(file.path)), file.size)


def _come(file: File, before: list[int]) -> bool:
    """Whether another process has fetched the same address meanwhile, and what is wanted of it."""
    with Cache() as memory:
        same = memory.get(file.path, "address") == key_of(file.url)
        return stamp(file.path) != before and same and file.sha256 in ("", memory.get(file.path, "sha256"))


def _fetch(client: httpx2.Client, file: File) -> Iterator[Progress]:
    found = yield from download(client, file.url, file.path, size=file.size, sha256=file.sha256, headers=file.headers)
    now = stamp(file.path)
    with Cache() as memory:
        memory.put(file.path, now, "sha256", found)
        memory.put(file.path, now, "address", key_of(file.url))


def _here(file: File, force: bool) -> bool:
    if not file.path.exists():
        return False
    known = file.sha256 or file.size is not None
    same = file.path.is_file() and file.size in (None, file.path.stat().st_size)
    if known and same and file.sha256 in ("", library.digest(file.path)):
        return True
    if not force:
        raise InvalidFile(
            f"{file.path} is here already, and {'is another file' if known else 'may be another file'}: --force "
            "replaces it, --into"
            " puts the new one elsewhere"
        )
    return False
