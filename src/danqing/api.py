"""The Python face: `danqing.paint`, `danqing.edit`, `danqing.replay` and what goes from given pictures to others; the
same options as the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, cast

from .errors import DanqingError, InvalidInput
from .pictures import encode, picture, read
from .pictures.carried import Carried, carried_by
from .pictures.picture import Picture
from .request.names import RecipeName
from .request.options import Finishes, Painting
from .request.request import Request, spread

if TYPE_CHECKING:
    from PIL.Image import Image

    from .types import State

    #: A picture's file, one in memory, or one that was painted.
    Source = str | os.PathLike[str] | Image | Picture


def paint(
    prompt: str = "",
    *,
    device: str | None = None,
    callback: Callable[[State], object] | None = None,
    **options: Unpack[Painting],
) -> Picture:
    """Paint one picture from words.

    Args:
        prompt: what to paint; empty paints anything.
        device: "cpu", "cuda", "mps"; the best one when not given.
        callback: is called with each step as it is done; what it raises ends the painting.
        options: fields of `Request`.

    Raises:
        InvalidInput: an option outside its domain; UnknownName with the nearest name.
        InvalidFile: a model's file is missing or damaged.
    """
    given: dict[str, Any] = {"prompt": prompt, **options}
    for state in states(Request(**given), device=device):
        if isinstance(state, Picture):
            return state
        if callback is not None:
            callback(state)
    raise DanqingError("the painting ended without a picture")


def states(request: Request, *, device: str | None = None) -> Iterator[State | Picture]:
    """Each step of a request as it is done, and the picture last; stop listening and the work stops.

    Raises:
        InvalidInput, InvalidFile: as `paint`.
    """
    from .painting.load import load_for

    return load_for(request, device).states(request)


def models() -> list[str]:
    """The names that a request's ``model`` may take on this machine: those that ship, then those in the folders of
    models; a path may stand for a model too."""
    from .store import library, shipped

    return list(dict.fromkeys((*shipped.names(), *library.names())))


def edit(
    image: Source,
    prompt: str = "",
    *,
    mask: Source | None = None,
    device: str | None = None,
    **options: Unpack[Painting],
) -> Picture:
    """Paint over a picture, or with a mask only where it is white; outside the mask every byte stays.

    Args:
        image: a file, or a Pillow image or a `Picture`, which the record then carries whole.
        mask: of the picture's size. Without one, ``recipe="inpaint"`` repaints what is transparent.

    Raises:
        InvalidInput, InvalidFile: as `paint`, and for pictures that cannot be read or do not fit each other.
    """
    given: dict[str, Any] = {"recipe": "image2image" if mask is None else "inpaint", **options}
    request = Request(prompt=prompt, image=_source(image), mask=None if mask is None else _source(mask), **given)
    return next(paint_all([request], device=device))


def outpaint(
    image: Source,
    prompt: str = "",
    *,
    left: int = 0,
    top: int = 0,
    right: int = 0,
    bottom: int = 0,
    device: str | None = None,
    **options: Unpack[Painting],
) -> Picture:
    """Paint what lies around a picture, so many pixels to each side; the picture itself keeps its bytes.

    Raises:
        InvalidInput, InvalidFile: as `edit`; nothing to grow by.
    """
    given: dict[str, Any] = {"recipe": "outpaint", **options, "extend": (left, top, right, bottom)}
    return next(paint_all([Request(prompt=prompt, image=_source(image), **given)], device=device))


def reconstruct(image: Source, *, device: str | None = None, **options: Unpack[Painting]) -> Picture:
    """A picture as a model's latent has it: what the model "vae", or another that is named, keeps of it.

    Raises:
        InvalidInput, InvalidFile: as `edit`.
    """
    return _anew("reconstruct", "vae", image, device, options)


def translate(image: Source, *, device: str | None = None, **options: Unpack[Painting]) -> Picture:
    """A picture in another style, ``to`` which the model "cyclegan", or another that is named, translates.

    Raises:
        InvalidInput, InvalidFile: as `edit`; UnknownName: a style that the model does not know.
    """
    return _anew("translate", "cyclegan", image, device, options)


def interpolate(
    image: Source, other: Source, *, count: int = 8, device: str | None = None, **options: Unpack[Painting]
) -> Iterator[Picture]:
    """From one picture to another in so many pictures at equal distances, by the latents of the model "vae", or another
    that is named.

    Args:
        count: at least 1; the first picture is the one end and the last the other, a single one lies in the middle.

    Raises:
        InvalidInput, InvalidFile: as `edit`; a picture whose latent the model does not know.
    """
    ends = {"image": _source(image), "other": _source(other)}
    given: dict[str, Any] = {"recipe": "interpolate", "model": "vae", **options, **ends}
    request = Request(**given)
    return paint_all(map(lambda between: request.but(between=between), spread(count)), device=device)


def touch_up(image: Source, finish: Finishes, *, device: str | None = None, precision: str | None = None) -> Picture:
    """A given picture after a chain of finishes: ``touch_up("fox.png", "enlarge:scale=2,tone")``.

    Args:
        image: a file, or a Pillow image or a `Picture`, which the record then carries whole.
        finish: the chain, see `danqing.finish.records`.
        precision: of the finishes that run a network; the fast one of the machine when not given.

    Raises:
        InvalidInput, InvalidFile: as `edit`; UnknownName: a finish that is not there.
    """
    given: dict[str, Any] = {"finish": finish, "precision": precision}
    return next(paint_all([Request(recipe="finish", model="none", image=_source(image), **given)], device=device))


def _anew(recipe: RecipeName, model: str, image: Source, device: str | None, options: Painting) -> Picture:
    given: dict[str, Any] = {"recipe": recipe, "model": model, **options, "image": _source(image)}
    return next(paint_all([Request(**given)], device=device))


def paint_all(requests: Iterable[Request], *, device: str | None = None) -> Iterator[Picture]:
    """Paint several requests, each as if it were alone: no picture depends on the others or on their order.

    Those of a list or a tuple are painted together where that is sooner.
    """
    from .painting.load import load_for, pictures

    known = isinstance(requests, list | tuple)
    for group in (requests,) if known else ([request] for request in requests):
        yield from pictures(cast("Sequence[Request]", group), partial(load_for, device=device))


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What painting a record again showed.

    Args:
        exact: every pixel is the same.
        max_abs, mean_abs: differences in levels of 255, over all pixels and channels.
        why: the verdict and its likely reason, in words.
        picture: the new one.
    """

    exact: bool
    max_abs: int
    mean_abs: float
    why: str
    picture: Picture


def replay(path: str | os.PathLike[str], *, device: str | None = None, trust: bool = False) -> Replay:
    """Paint a file's record again and compare; a lossy file is compared after the same encoding.

    Args:
        trust: read what the record names outside the folders of models even where it does not hold its SHA-256.

    Raises:
        InvalidFile: the file carries no record, or its input picture is gone.
        InvalidInput: the record names files outside the folders of models that it was not painted with.
    """
    from .store.replayed import request_of

    return compare(path, next(paint_all([request_of(path, trust=trust)], device=device)))


def compare(path: str | os.PathLike[str], picture: Picture) -> Replay:
    """A file and the picture that its record paints now."""
    import numpy as np

    carried = carried_by(path)
    then, encoding = (_part(carried.record or {}, name) for name in ("record", "encoding"))
    if encoding.get("format") not in encode.WRITABLE.values() or not isinstance(encoding.get("quality", 95), int):
        encoding = {"format": carried.format}
    news = encode.reread(encode.to_bytes(picture.image, encoding, picture.frames[1:]))
    olds = read.frames(path, len(news) + 1)
    old, new = olds[0], news[0]
    if new.size != old.size or len(news) != len(olds):
        there, here = (
            f"{each.width}×{each.height}" + (f" of {len(every)} frames" if len(every) > 1 else "")
            for each, every in ((old, olds), (new, news))
        )
        since = f"it was {'resized' if new.size != old.size else 'cut'} since"
        why = f"not comparable: the file is {there}, the record paints {here}: {since}"
        return Replay(exact=False, max_abs=255, mean_abs=255.0, why=why, picture=picture)
    then_now = [np.stack([np.asarray(each.convert("RGBA"), np.int16) for each in every]) for every in (olds, news)]
    apart = np.abs(np.subtract(then_now[0], then_now[1]))
    most, mean = int(apart.max()), float(apart.mean())
    what = f"exact: every pixel of {old.width}×{old.height} is the same"
    if encoding["format"] != "PNG":
        what += f", after the same {encoding['format']} encoding"
    if most:
        what = (
            f"not exact: up to {most} of 255 levels apart, {mean:.4f} on average. "
            f"{_reason(then, picture.record, carried, encoding)}"
        )
    return Replay(exact=most == 0, max_abs=most, mean_abs=mean, why=what, picture=picture)


def _part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = record.get(name)
    return cast("dict[str, Any]", part) if isinstance(part, dict) else {}


def _reason(then: Mapping[str, Any], now: Mapping[str, Any], carried: Carried, encoding: Mapping[str, Any]) -> str:
    """Why two paintings of one request differ, as far as their records tell."""
    if carried.format != encoding["format"]:
        return f"It was painted as {encoding['format']} and is {carried.format} now: it was converted."
    before, after = _flat(then), _flat(now)
    known = {key.partition(" ")[0] for key in before}
    keys = [key for key in {**after, **before} if key.partition(" ")[0] in known]
    changed = [
        f"{key}: {before.get(key)} then, {after.get(key)} now" for key in keys if before.get(key) != after.get(key)
    ]
    if changed:
        return "What changed since: " + "; ".join(changed) + "."
    same = "Machine, versions and weights are the same"
    if unknown := sorted({key for key in after if key.partition(" ")[0] not in known}):
        return f"{same} as far as the record says: it is older than what it would say of {', '.join(unknown)}."
    return f"{same}, so the file was edited, or something here is not reproducible."


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, a name each: "weights text" of its inner ones. Parents are of the past."""
    inner = {key: cast("Mapping[str, Any]", value) for key, value in record.items() if isinstance(value, Mapping)}
    parts = {f"{key} {name}": each for key, value in inner.items() for name, each in value.items()}
    plain = {key: value for key, value in record.items() if not isinstance(value, Mapping) and key != "parents"}
    return plain | parts


def _source(image: Source) -> str:
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    if isinstance(image, Picture):
        return encode.data_uri(image.image, pnginfo=picture.chunks(image, {"format": "PNG"}, whole=False))
    if not hasattr(image, "save"):
        raise InvalidInput(
            f"a {type(image).__name__} was given for a picture; possible are a file's path and a Pillow image"
        )
    return encode.data_uri(image)
