"""The models, LoRAs and learned words in the user's folders: found by name, described by their headers, and remembered.

A folder of models (`danqing.store.settings`) may be laid out as anybody likes, or be the one of ComfyUI or of A1111,
whose folders say what lies in them (`PLACES`). Nothing here needs torch, and nothing but `digest` reads more of a file
than its header.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from .. import atomic, installed
from ..errors import DanqingError, InvalidInput, UnknownName, nearest
from ..weights import store
from ..weights.identify import identify
from . import settings
from .cache import Cache
from .foreign import read as foreign
from .foreign.folder import snapshot
from .model import read_model
from .short import SHORT

#: What lies in a folder of this name, in ComfyUI's and A1111's trees and in anybody's.
PLACES = {
    **dict.fromkeys(("checkpoints", "stable-diffusion", "diffusion_models", "unet"), "model"),
    **dict.fromkeys(("loras", "lora", "lycoris"), "lora"),
    **dict.fromkeys(("vae", "vae_approx"), "vae"),
    **dict.fromkeys(("clip", "text_encoders", "text_encoder"), "text encoder"),
    "embeddings": "embedding",
    **dict.fromkeys(("controlnet", "controlnets", "t2i_adapter", "t2i-adapter"), "controlnet"),
    **dict.fromkeys(("ipadapter", "ip-adapter", "ip_adapter", "portraits"), "ip-adapter"),
    **dict.fromkeys(("clip_vision", "image_encoder"), "clip-vision"),
    **dict.fromkeys(("upscale_models", "esrgan", "realesrgan", "gfpgan", "facerestore_models"), "finish"),
}
#: What a family of `danqing.weights.identify` is to whoever looks for it; others are called by their family.
KINDS = {
    **dict.fromkeys(("checkpoint", "unet", "drafted-unet", "residual-unet", "mmdit"), "model"),
    **dict.fromkeys(("clip", "clip-text", "t5", "text-encoder"), "text encoder"),
    **{"autoencoder-kl": "vae", "textual-inversion": "embedding"},
    **dict.fromkeys(("rrdb", "srvgg", "gfpgan", "restorer"), "finish"),
    **dict.fromkeys(("controlnet-union", "controlnet-mmdit", "t2i-adapter"), "controlnet"),
    **dict.fromkeys(("depth-anything", "depth-unet"), "depth"),
    **dict.fromkeys(("image-tower", "eva-vision"), "clip-vision"),
}
#: Tensors of a learned word that are not named as it is.
UNNAMED = ("emb_params", "clip_l", "clip_g")
SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")
TITLE = re.compile(r"(?P<name>.*\S)\s*\[(?P<hash>[0-9a-fA-F]{8,64})\]")
LICENCE = re.compile(r"^license:[ \t]*(\S.*)$", re.MULTILINE)
#: How many names a refusal lists.
LISTED = 30


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing in a folder of models.

    Args:
        name: its path below its place, with ``/`` and without ending.
        path: of the file, or of the model's folder.
        place: what the folder that it lies in says it is, a value of `PLACES`; "" where none says.
        root: the folder of models.
    """

    name: str
    path: Path
    place: str
    root: Path


@dataclass(frozen=True, kw_only=True)
class About:
    """What a header says of an entry.

    Args:
        kind: "model", "lora", "embedding", "vae", "text encoder", "finish", "depth", another family of
            `danqing.weights.identify`, or "unknown".
        what: family and variant, for people.
        dtypes: the types of its numbers, the most common first.
        size: bytes of all its files.
        licence: as the file says, "" where it does not.
        wrong: why it cannot be read; "" where it can.
    """

    kind: str
    what: str
    dtypes: tuple[str, ...]
    size: int
    licence: str
    wrong: str = ""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of the list: an entry, what it is, and its SHA-256 where that is known."""

    entry: Entry
    about: About
    sha256: str


# ------------------------------------------------------------------------------------------------------------ what is
# there


def entries() -> list[Entry]:
    """Everything in the user's folders of models, then in those of installed packages, by its names alone: whole
    models' folders, and files of weights; in packages only those whose folder says what they are.

    Raises:
        InvalidFile: the settings cannot be read.
    """
    own = [entry for root in settings.read().models for base in _bases(root) for entry in _walk(root, base)]
    return [*own, *(entry for root in installed.folders() for entry in _walk(root, root) if entry.place)]


def _bases(root: Path) -> list[Path]:
    """Where models are in a folder: in the whole, but of another program's tree only in the parts that hold models."""
    inner = root / "models"
    if inner.is_dir() and any(child.name.casefold() in PLACES for child in _folders(inner)):
        # A1111 keeps its learned words beside.
        return [inner, *(child for child in _folders(root) if child.name == "embeddings")]
    return [root]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if child.is_dir())
    except OSError:
        return []


def _walk(root: Path, base: Path) -> Iterator[Entry]:
    seen: set[str] = set()
    for where, folders, names in os.walk(base, followlinks=True):
        here, real = Path(where), os.path.realpath(where)
        if real in seen:  # a link that leads in a circle
            folders.clear()
            continue
        seen.add(real)
        place, below = _place(base, here)
        if "model.json" in names or "model_index.json" in names:
            name = _of_hub(here) or (here.relative_to(below).as_posix() if here != below else here.name)
            yield Entry(name=name, path=here, place="model", root=root)
            folders.clear()
            continue
        hidden = [folder for folder in folders if folder.startswith(".")]
        folders[:] = sorted({*folders, *atomic.restored(here, hidden)} - {*hidden})
        names = [name for name in names if not name.startswith(".")]
        split = any(name.endswith(".index.json") for name in names)
        for name in sorted(names):
            known = name.lower().endswith(foreign.ENDS) or name.endswith(".index.json")
            if known and not (split and SHARD.search(name)):
                yield Entry(
                    name=_bare((here / name).relative_to(below).as_posix()), path=here / name, place=place, root=root
                )


def _place(base: Path, here: Path) -> tuple[str, Path]:
    """What the folders from a base down to here say of what lies here, and the folder that says it."""
    for folder in (here, *here.parents):
        if place := PLACES.get(folder.name.casefold()):
            return place, folder
        if folder == base:
            break
    return "", base


def _of_hub(folder: Path) -> str:
    """What the hub calls a model whose main revision this is, in its cache (models--OWNER--NAME); else ""."""
    cached = folder.parent.parent
    if folder.parent.name != "snapshots" or not cached.name.startswith("models--") or snapshot(cached) != folder:
        return ""
    return cached.name.removeprefix("models--").replace("--", "/")


def _bare(name: str) -> str:
    """A file's name without the ending of a format."""
    for end in (".safetensors.index.json", ".bin.index.json", ".index.json", *foreign.ENDS):
        if name.lower().endswith(end):
            return name[: -len(end)]
    return name


# ------------------------------------------------------------------------------------------------------------- what it
# is


def listing(*, hashes: bool = False) -> Iterator[Listed]:
    """Everything in the folders, with what it is; what is broken says why instead.

    Args:
        hashes: read every file whole for its SHA-256; otherwise only those that are known are told.
    """
    with Cache() as memory:
        for entry in entries():
            told = _about(memory, entry)
            sha256 = ""
            if entry.path.is_file() and not told.wrong:
                sha256 = _digest(memory, entry.path) if hashes else memory.get(entry.path, "sha256") or ""
            yield Listed(entry=entry, about=told, sha256=sha256)


def about(path: Path) -> About:
    """What a file of weights or the folder of a model is, by its headers; never raises for what is in it."""
    try:
        return _folder(path) if path.is_dir() else _weights(path)
    except (DanqingError, OSError) as error:
        wrong = str(error)
    except Exception as error:  # one file that nobody foresaw must not hide all others
        wrong = f"it cannot be read ({type(error).__name__}: {error})"
    return About(kind="unknown", what="", dtypes=(), size=_size(path), licence="", wrong=" ".join(wrong.split()))


def _about(memory: Cache, entry: Entry) -> About:
    known = memory.of(entry.path, "about", lambda: asdict(about(entry.path)))
    told = About(**{**known, "dtypes": tuple(known["dtypes"])})
    # A file that is broken, or of no layout that is known here, is what its folder says.
    return told if told.kind != "unknown" or not entry.place else About(**{**known, "kind": entry.place})


def _weights(path: Path) -> About:
    found = identify(path)
    what = " ".join(filter(None, (found.variant or found.family, found.layout if found.family == "lora" else "")))
    return About(
        kind=KINDS.get(found.family, found.family),
        what=what if found.family in ("checkpoint", "lora") else " ".join(filter(None, (found.family, found.variant))),
        dtypes=tuple(found.dtypes),
        size=found.size,
        licence=found.metadata.get("modelspec.license", ""),
    )


def _folder(path: Path) -> About:
    model = read_model(path) if (path / "model.json").is_file() else foreign.describe(path)
    header = store.header(model.file_of(model.core))
    said = model.licence if (path / "model.json").is_file() else _card(path)
    return About(kind="model", what=model.summary, dtypes=tuple(header.dtypes), size=_size(path), licence=said)


def _card(path: Path) -> str:
    """The licence that the head of a folder's README.md names."""
    try:
        with (path / "README.md").open(encoding="utf-8", errors="replace") as file:
            head = file.read(8192)
    except OSError:
        return ""
    found = LICENCE.search(head.split("\n---", 1)[0]) if head.startswith("---") else None
    return found[1].strip() if found else ""


def _size(path: Path) -> int:
    try:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files)
    except (OSError, ValueError):
        return 0


def digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hex; computed once, and again when its size or its time changes.

    Raises:
        InvalidFile: it cannot be read.
    """
    with Cache() as memory:
        return _digest(memory, Path(path))


def tensors_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's tensors without its header, by which Civitai knows a LoRA; remembered as `digest`.

    Raises:
        InvalidFile: it cannot be read.
    """
    with Cache() as memory:
        return _digest(memory, Path(path), "tensors")


def remembered(sha256: str) -> Path | None:
    """A file of this SHA-256 among those that were read before and are as they were."""
    memory = Cache()
    paths = (Path(path) for path, facts in memory.known.items() if facts.get("sha256") == sha256)
    return next((path for path in paths if memory.get(path, "sha256") == sha256), None)


def _digest(memory: Cache, path: Path, fact: str = "sha256") -> str:
    return memory.of(path, fact, lambda: store.sha256(path, tensors=fact == "tensors"))


# -------------------------------------------------------------------------------------------------------------- by name


def loras() -> dict[str, Path]:
    """Name -> file of every LoRA: the file's name without its ending, and its path below its folder; of two of one name
    the first."""
    return _named("lora")


def embeddings() -> dict[str, Path]:
    """The same of every learned word (textual inversion), and the name that stands in the file: of many that are called
    learned_embeds it is the only one that tells them apart."""
    found = _named("embedding")
    with Cache() as memory:
        for path in list(dict.fromkeys(found.values())):
            if inside := memory.of(path, "word", partial(_word, path)):
                found.setdefault(inside, path)
    return found


def _word(path: Path) -> str:
    """What a file of a learned word calls it: diffusers by its tensor's name, A1111 beside it; "" where it does not
    say."""
    try:
        header = store.header(path)
    except (DanqingError, OSError):
        return ""
    alone = [name for name in header.tensors if len(header.tensors) == 1 and name not in UNNAMED]
    return alone[0] if alone and not alone[0].startswith("string_to_param.") else header.metadata.get("name", "")


def finishes() -> dict[str, Path]:
    """The same of every network that finishes pictures: enlargers, restorers of faces."""
    return _named("finish")


def depths() -> dict[str, Path]:
    """The same of every network that says how near things are."""
    return _named("depth")


def controls() -> dict[str, Path]:
    """The same of every network that steers by a picture."""
    return _named("controlnet")


def ip_adapters() -> dict[str, Path]:
    """The same of every IP-Adapter; A1111 keeps them among control networks."""
    return _named("ip-adapter", among=("controlnet",))


def towers() -> dict[str, Path]:
    """The same of every image tower, of CLIP or of ours."""
    return _named("clip-vision")


def _named(kind: str, among: Collection[str] = ()) -> dict[str, Path]:
    """Those that their folder or, where it says nothing or is one of those ``among`` which they lie, their header says
    to be of a kind."""
    found: dict[str, Path] = {}
    with Cache() as memory:
        for entry in entries():
            said = "" if entry.place in among else entry.place
            if entry.path.is_file() and (said or _about(memory, entry).kind) == kind:
                for name in (_bare(entry.path.name), entry.name):
                    found.setdefault(name, entry.path)
    return found


def names() -> list[str]:
    """The names of the models, by which `locate` finds them."""
    return list(dict.fromkeys(entry.name for entry in entries() if entry.place in ("", "model")))


def locate(given: str) -> Path:
    """The file or the folder of a model by its name: the file's without ending, its path below a folder of models,
    A1111's ``name.safetensors [abcdef0123]``, or a short name of `SHORT`; letters' case does not matter where the name
    is clear without it.

    Raises:
        UnknownName: there is none of that name, or only one whose hash is known to be another.
        InvalidInput: the name fits several, is of ours and not installed, or short and not pulled.
    """
    title = TITLE.fullmatch(given)
    wanted, short = (title["name"], title["hash"].lower()) if title else (given, "")
    wanted = wanted.replace("\\", "/").removeprefix("./")
    models = [entry for entry in entries() if entry.place in ("", "model")]
    for fold in (str, str.casefold):
        for spelled in (_paths, _files):
            hits = [entry for entry in models if fold(wanted) in map(fold, spelled(entry))]
            if short:
                with Cache() as memory:
                    hits = [entry for entry in hits if (memory.get(entry.path, "sha256") or short).startswith(short)]
            if hits:
                return _one(given, hits)
    if any(given in names for names in installed.BRINGS.values()):
        raise installed.missing(given)
    if (repo := SHORT.get(given.casefold())) is not None:
        return _pulled(given.casefold(), repo.rpartition("/")[2])
    raise UnknownName("model", given, _some(given, list(dict.fromkeys(entry.name for entry in models))))


def _pulled(short: str, folder: str) -> Path:
    """The model of a short name, in the folder that `danqing.store.pull` makes for it."""
    try:
        return locate(folder)
    except UnknownName:
        why = f"the model {short!r} is not here: `danqing pull {short}` fetches it, as {folder}"
        raise InvalidInput(f"{why}; `danqing models` lists what is here") from None


def _paths(entry: Entry) -> set[str]:
    full = entry.path.relative_to(entry.root).as_posix() if entry.path != entry.root else entry.name
    return {entry.name, full, _bare(full), entry.name + _end(entry)}


def _files(entry: Entry) -> set[str]:
    return {entry.path.name, _bare(entry.path.name)}


def _end(entry: Entry) -> str:
    return entry.path.name[len(_bare(entry.path.name)) :]


def _one(given: str, hits: list[Entry]) -> Path:
    """The entry that is meant. Of one name in two roots it is the first root's; of one name in two formats,
    safetensors."""
    first = hits[0]
    others = [hit for hit in hits if hit.name != first.name and hit.path.resolve() != first.path.resolve()]
    if others:
        shown = ", ".join(repr(hit.name) for hit in (first, *others[:9]))
        raise InvalidInput(f"the model {given!r} could be any of {shown}: name it by its path, as it stands here")
    ends = [".safetensors", ".safetensors.index.json", *foreign.ENDS]
    found = {_end(hit).lower(): hit for hit in reversed(hits) if hit.root == first.root}
    return next((found[end].path for end in ends if end in found), first.path)


def _some(given: str, known: list[str]) -> list[str]:
    """Names for a refusal: all, or of very many the nearest."""
    if len(known) <= LISTED:
        return [*known, "the path of a model"]
    near = nearest(given, known, count=LISTED // 3, cutoff=0.1)
    return [*near, f"{len(known) - len(near)} more, which `danqing models` lists"]


def home(kind: str = "model") -> Path:
    """The folder that takes what is pulled, or what else is of a kind: within the first of the settings the one that
    says so, in another program's tree that of whole models; perhaps not there yet."""
    base = _bases(settings.read().models[0])[0]
    whole = ("checkpoints", "stable-diffusion")
    said = whole if kind == "model" else [name for name, place in PLACES.items() if place == kind]
    usual = base if kind == "model" else base / f"{kind}s"
    return next((child for child in _folders(base) if child.name.casefold() in said), usual)
