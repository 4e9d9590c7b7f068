"""One file from the network: whole and verified at its place, or in part beside it, from where the next attempt goes
on.

A transfer lies in ``NAME.part`` with a note of what it is of in ``NAME.part.json``. It is continued where the server
still has the same file: by its ETag or its date (RFC 9110, sections 13.1.5 and 14), or because its SHA-256 is known
beforehand. One process at a time writes there (`danqing.atomic.alone`), and the SHA-256 is that of the part as it lies
on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx2

from .. import atomic
from ..errors import DanqingError, InvalidFile, InvalidInput
from ..version import __version__
from ..weights import store
from .addresses import split_address

#: Attempts in a row that bring nothing before it is given up, and the seconds before each of them.
WAITS = (1.0, 2.0, 4.0, 8.0)
AGENT = f"danqing/{__version__}"


class Progress(NamedTuple):
    """How much of a file is here, in bytes; ``total`` is None where the server does not say."""

    name: str
    done: int
    total: int | None


class NotReached(DanqingError):
    """A server that is not there, does not answer or fails."""


class NotAllowed(DanqingError):
    """A file that is not for everybody."""


class _Again(Exception):
    """An attempt that another may follow; the reason is for people."""


def connect() -> httpx2.Client:
    """What downloads share."""
    return httpx2.Client(follow_redirects=True, timeout=httpx2.Timeout(30.0, connect=10.0))


def download(
    client: httpx2.Client,
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str = "",
    headers: Mapping[str, str] | None = None,
) -> Generator[Progress, None, str]:
    """Fetch a file to its place, saying after each piece how far it is; returns its SHA-256. Others are to be kept from
    the place.

    Args:
        path: where it goes; a file that is there is replaced once the new one is whole.
        size: bytes that it must have.
        sha256: that it must have, in hex.
        headers: of the request. Authorization is sent to no other server that the first one points to.

    Raises:
        NotReached: no connection, or a server that fails. NotAllowed: it wants to know who asks.
        InvalidInput: there is no such file. InvalidFile: another file came than was promised, or the place cannot be
            written.
    """
    part = part_of(path)
    failures, reached = 0, False
    try:
        while True:
            before = arrived(part)
            try:
                yield from _attempt(client, url, path, part, size, sha256.lower(), headers or {})
                break
            except (httpx2.TransportError, _Again) as error:
                failures = 0 if arrived(part) > before else failures + 1
                reached = reached or not isinstance(error, httpx2.ConnectError)
                if failures > len(WAITS) or not reached:  # whoever is offline should know at once
                    raise NotReached(_unreached(url, error, part)) from None
                time.sleep(WAITS[max(failures - 1, 0)])
        found = store.sha256(part)
        if sha256 and found != sha256.lower():
            _forget(part)
            raise InvalidFile(
                f"{path.name} came with the SHA-256 {found[:12]}…, not {sha256[:12].lower()}…, and was thrown "
                "away: it was damaged on"
                " its way, or is another file than was meant. Try again, or get it elsewhere"
            )
        os.replace(part, path)
        _note(part).unlink(missing_ok=True)
    except OSError as error:
        raise InvalidFile(unwritable(path, error)) from None
    except httpx2.InvalidURL as error:
        raise InvalidInput(f"{shown(url)} is no address: {error}") from None
    except httpx2.HTTPError as error:
        raise NotReached(_unreached(url, error, part)) from None
    return found


def _attempt(
    client: httpx2.Client,
    url: str,
    path: Path,
    part: Path,
    size: int | None,
    sha256: str,
    headers: Mapping[str, str],
) -> Iterator[Progress]:
    """Ask once for what is missing."""
    key = sha256 or key_of(url)
    mark = _read(part, key)
    have = arrived(part) if mark or (sha256 and mark is not None) else 0
    asked = {"User-Agent": AGENT, **headers, "Accept-Encoding": "identity"}
    if have:
        asked |= {"Range": f"bytes={have}-", **({"If-Range": mark} if mark else {})}
    with client.stream("GET", url, headers=asked) as response:
        code = response.status_code
        if code == 416 and have:
            if response.headers.get("Content-Range", "").removeprefix("bytes */") == str(have):
                return
            _forget(part)
            raise _Again("it has another length now")
        refuse(response, url, path)
        if code == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _forget(part)
            raise _Again("it sent another piece than was asked for")
        have = have if code == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else size
        if size is not None and total != size:
            _forget(part)
            raise InvalidFile(
                f"{path.name} has {total:,} bytes at {shown(url)} instead of {size:,}: it was replaced. Try again"
            )
        _room(path, (total or 0) - have)
        if not have:
            _forget(part)  # a kill must not leave the note of one file beside the part of another
        tag, date = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
        _write_note(
            part, key, date if tag.startswith("W/") else tag or date
        )  # a weak tag is no promise of the same bytes
        yield Progress(path.name, have, total)
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                have += len(chunk)
                yield Progress(path.name, have, total)
            atomic.keep(file)
    if total is not None and have != total:
        raise _Again(f"it ended after {have:,} of {total:,} bytes")


def refuse(response: httpx2.Response, url: str, path: Path) -> None:
    """Turn an answer that is no file into what to do about it."""
    code, where = response.status_code, shown(url)
    if code in (401, 403):
        raise NotAllowed(
            f"{where} is not for everybody ({code}): it is private or gated, or not there at all. Look at its "
            "page, accept its"
            " conditions, and log in: set HF_TOKEN (or run `hf auth login`) for the hub; other sites put a key "
            "into the address"
        )
    if code in (404, 410):
        raise InvalidInput(f"there is no file at {where} ({code}): check the name, the revision and the spelling")
    if code in (408, 429) or code >= 500:
        raise _Again(f"it answered {code} {response.reason_phrase}".rstrip())
    if code not in (200, 206):
        raise NotReached(
            f"{where} answered {code} {response.reason_phrase}".rstrip() + ", which is no file: check the address"
        )
    if response.headers.get("Content-Type", "").startswith("text/html") and path.suffix.lower() not in (
        ".html",
        ".htm",
    ):
        raise NotAllowed(
            f"{where} answered with a web page instead of {path.name}: it may want a login, or a link that downloads"
        )


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = split_address(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _unreached(url: str, error: Exception, part: Path) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    kept = f" What has come lies in {part}; the same command goes on from there." if arrived(part) else ""
    return (
        f"cannot get {shown(url)}: {reason}. Check the network, try later, or set a mirror of the hub with "
        f"HF_ENDPOINT.{kept}"
    )


def unwritable(path: Path, error: OSError) -> str:
    """Why a file cannot be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk of {path.parent} is full: make room and give the same command, which goes on from "
            f"{part_of(path)}, or choose --into"
        )
    return f"cannot write {path}: {error.strerror or error}. Choose a folder that you may write to with --into"


def _room(path: Path, needed: int) -> None:
    """Refuse at once what the disk cannot hold."""
    with suppress(OSError):
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise InvalidFile(
                f"the disk of {path.parent} has {free / 1e9:.1f} GB left, and {path.name} needs "
                f"{needed / 1e9:.1f}: make room, or choose"
                " another folder with --into"
            )


# ------------------------------------------------------------------------------------------------------------ the part


def part_of(path: Path) -> Path:
    """Where a file lies until it is whole."""
    return path.with_name(path.name + ".part")


def arrived(part: Path) -> int:
    """How many bytes of a file are here."""
    try:
        return part.stat().st_size
    except OSError:
        return 0


def key_of(url: str) -> str:
    """What an address is remembered by, for it may hold a secret."""
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read(part: Path, key: str) -> str | None:
    """What to continue a part by, "" where the server gave nothing; None where the part is of something else."""
    try:
        said = json.loads(_note(part).read_text(encoding="utf-8"))
        return str(said["mark"]) if said["of"] == key else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write_note(part: Path, key: str, mark: str) -> None:
    atomic.write(_note(part), json.dumps({"of": key, "mark": mark}).encode())


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
