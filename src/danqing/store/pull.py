"""Models from the network: what there is to fetch for a name, an address or an id of the hub.

An id reads ``owner/name``, with ``@revision`` and ``:file`` behind it where wanted. Of a whole model's folder only what
is needed to paint comes: for each network one set of weights, safetensors before pickles, and the small files beside.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from ..errors import InvalidFile, InvalidInput, UnknownName
from . import library, settings
from .addresses import check_way, split_address
from .download import AGENT, NotAllowed, NotReached, refuse, shown
from .fetch import File, Plan
from .foreign import read as foreign
from .foreign.folder import FOLDERS, preferred, variants, whole
from .short import SHORT

ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[^:\s]+))?(?::(?P<file>\S.*))?")
#: An address of the hub's own pages: a model, a revision of it, a file.
PAGE = re.compile(
    r"/(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:/(?:tree|blob|resolve)/(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+)(?:/(?P<file>.+))?)?/?"
)
HUBS = ("huggingface.co", "hf.co", "www.huggingface.co")
#: Folders of a model that are needed to paint with it.
PARTS = {
    *(name for names in FOLDERS.values() for name in names),
    *("tokenizer", "tokenizer_2", "tokenizer_3", "scheduler"),
}
SMALL = (".json", ".txt", ".model")


class Remote(NamedTuple):
    """A file of a repository: its path there, its size, and its SHA-256 where the hub tells it."""

    name: str
    size: int | None
    sha256: str


def plan(name: str, *, into: Path | None = None, variant: str = "", sha256: str = "") -> Plan:
    """What there is to fetch.

    Args:
        name: one of `SHORT`, an id of the hub, or an address.
        into: the folder that takes it; the first folder of models when not given.
        variant: of a model's weights, e.g. "fp16"; where a network has none, its plain ones come.
        sha256: of a single file, in hex.

    Raises:
        UnknownName, InvalidInput: it is none of these, has no such revision, file or variant, or holds several files.
        NotAllowed, NotReached: as for `danqing.store.download.download`.
    """
    into = library.home() if into is None else into
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InvalidInput(f"--sha256 {sha256[:80]!r} is no SHA-256: it has 64 digits of 0 to 9 and a to f")
    check_way()
    parts = split_address(name)
    if parts.scheme in ("http", "https"):
        hub = parts.hostname in (*HUBS, split_address(settings.read().mirror).hostname)
        match = PAGE.fullmatch(parts.path) if hub else None
        if match is None:
            return Plan(path=(path := into / _named(name)), files=(File(url=name, path=path, sha256=sha256.lower()),))
    else:
        match = ID.fullmatch(SHORT.get(name, name))
    if match is None:
        raise UnknownName("model to pull", name, [*SHORT, "an id of the hub such as owner/name", "an address"])
    # A slash within a revision's name is written %2F in an address, whose parts are told apart before that is undone.
    plain = unquote if parts.scheme else str
    repo, revision, file = (part and plain(part) for part in match.group("repo", "revision", "file"))
    return _hub(repo, revision, file, into, variant, sha256.lower())


# -------------------------------------------------------------------------------------------------------------- the hub


def _hub(repo: str, revision: str | None, file: str | None, into: Path, variant: str, sha256: str) -> Plan:
    address = settings.read().mirror
    commit, remote = _listed(address, repo, revision)
    if file is None and any(one.name == "model_index.json" for one in remote):
        chosen, notes = _chosen(repo, remote, variant)
        folder = into / repo.partition("/")[2]
        places = {one: folder / one.name for one in chosen}
    else:
        one, notes = _single(repo, remote, file), ()
        folder = into / one.name.rpartition("/")[2]
        places = {one: folder}
    if sha256 and len(places) > 1:
        raise InvalidInput(
            f"--sha256 is of one file, and {repo} is a folder of {len(places)}: leave it out, the hub states theirs"
        )
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    headers = {"User-Agent": AGENT} | {k: v for k, v in build_hf_headers().items() if k.lower() == "authorization"}
    files = tuple(
        File(
            url=hf_hub_url(repo, one.name, revision=commit, endpoint=address),
            path=path,
            size=one.size,
            sha256=sha256 or one.sha256,
            headers=headers,
        )
        for one, path in places.items()
    )
    return Plan(path=folder, files=files, notes=notes)


def _listed(address: str, repo: str, revision: str | None) -> tuple[str, list[Remote]]:
    """The commit of a revision, and its files."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    where = f"{address}/{repo}"
    try:
        found = HfApi(endpoint=address).model_info(repo, revision=revision, files_metadata=True, timeout=30)
    except HFValidationError as error:
        raise InvalidInput(f"{repo!r} is no id of the hub: {error}") from None
    except OfflineModeIsEnabled:
        raise NotReached(f"cannot get {where}: HF_HUB_OFFLINE is set. Unset it to pull") from None
    except HfHubHTTPError as error:
        code = error.response.status_code
        if code == 404 and revision:
            raise InvalidInput(f"{where} has no revision {revision!r} (404): look at its branches and tags") from None
        if code in (408, 429) or code >= 500:
            raise NotReached(
                f"cannot get {where}: it answered {code}. Try later, or set a mirror of the hub with HF_ENDPOINT"
            ) from None
        refuse(error.response, where, Path(repo))
        raise NotReached(f"cannot get {where}: {error}") from None
    except (httpx2.HTTPError, OSError, ValueError, TypeError, LookupError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NotReached(
            f"cannot get {where}: {reason}. Check the network, or set a mirror of the hub with HF_ENDPOINT"
        ) from None
    remote = []
    for one in found.siblings or ():
        if any(part in ("", ".", "..") for part in one.rfilename.split("/")) or set(one.rfilename) & set("\\:\0"):
            raise InvalidFile(
                f"{where} names the file {one.rfilename!r:.80}, which would lie outside its folder: refused"
            )
        lfs: Any = one.lfs
        remote.append(Remote(one.rfilename, one.size, str(lfs.sha256).lower() if lfs else ""))
    return found.sha or revision or "main", remote


def _single(repo: str, remote: Collection[Remote], file: str | None) -> Remote:
    """The one file that is meant."""
    weights = [one for one in remote if one.name.lower().endswith(foreign.ENDS)]
    if file is not None:
        for one in remote:
            if one.name == file:
                return one
        raise UnknownName(f"file of {repo}", file, sorted(one.name for one in weights) or [one.name for one in remote])
    best = [one for one in weights if one.name.endswith(".safetensors")] or weights
    if len(best) != 1:
        names = ", ".join(one.name for one in best[:20]) or "no file of weights"
        raise InvalidInput(f"{repo} is no folder of a model: it holds {names}. Name the one that you want: {repo}:FILE")
    return best[0]


def _chosen(repo: str, remote: Collection[Remote], variant: str) -> tuple[list[Remote], tuple[str, ...]]:
    """The files of a model that are needed to paint with it, and what is not as asked for."""
    small, weights, plain, called = [], [], [], set[str]()
    for part in sorted({one.name.partition("/")[0] for one in remote if one.name.count("/") == 1} & PARTS):
        inside = {one.name.removeprefix(part + "/"): one for one in remote if one.name.startswith(part + "/")}
        inside = {name: one for name, one in inside.items() if "/" not in name}
        sets = variants(inside)
        small += [one for name, one in inside.items() if name.endswith(SMALL) and ".index." not in name]
        called |= {name for _, name in sets if name}
        best = preferred(sets, variant)
        if best is None:
            continue
        weights += [inside[name] for name in whole(sets[best])]
        if variant and best[1] != variant:
            plain.append(part)
    if not weights:
        raise InvalidInput(
            f"{repo} holds no weights in the formats that are read: safetensors, or a .bin of torch.save"
        )
    if variant and variant not in called:
        raise UnknownName(f"variant of {repo}", variant, called or ["none, so leave --variant out"])
    words = [
        one for one in remote if "/" not in one.name and (one.name == "README.md" or one.name.startswith("LICENSE"))
    ]
    index = [one for one in remote if one.name == "model_index.json"]
    notes = (f"no variant {variant!r} of {', '.join(plain)}: the plain weights come instead",) if plain else ()
    return [*words, *small, *weights, *index], notes


# ------------------------------------------------------------------------------------------------------------ addresses


def _named(url: str) -> str:
    """The name of an address's file: its own, else what the server calls it."""
    name = _clean(unquote(split_address(url).path))
    if name.lower().endswith(foreign.ENDS):
        return name
    import httpx2

    try:
        with httpx2.stream("GET", url, headers={"User-Agent": AGENT}, follow_redirects=True, timeout=30) as response:
            said = re.search(
                r"filename\*?=(?:UTF-8'[^']*')?\"?([^\";]+)",
                response.headers.get("Content-Disposition", ""),
                re.IGNORECASE,
            )
            last = str(response.url.path)
    except httpx2.InvalidURL as error:
        raise InvalidInput(f"{shown(url)} is no address: {error}") from None
    except httpx2.HTTPError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NotReached(f"cannot get {shown(url)}: {reason}. Check the address and the network") from None
    found = _clean(unquote(said[1])) if said else _clean(unquote(last))
    if not found.lower().endswith(foreign.ENDS):
        if response.status_code in (401, 403):
            refuse(response, url, Path(found))
        raise NotAllowed(
            f"{shown(url)} leads to {found or 'nothing with a name'}, which is no file of weights "
            f"({', '.join(foreign.ENDS)}): it may"
            " want a login, or a link that downloads"
        )
    return found


def _clean(path: str) -> str:
    """The last part of a path as the name of a file."""
    return re.sub(r"[\x00-\x1f<>:\"|?*]", "_", re.split(r"[/\\]", path)[-1].strip()).lstrip(".")
