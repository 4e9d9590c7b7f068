"""The Python face: `danqing.paint`, `danqing.edit`, `danqing.replay`; the same options as the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from .. import __version__
from ..errors import InvalidFile, InvalidInput
from . import files
from .picture import Picture
from .request import Request

if TYPE_CHECKING:
    from PIL.Image import Image


class Options(TypedDict, total=False):
    """The fields of `Request` that `paint` and `edit` take by name; `Request` describes each."""

    recipe: Literal["text2image", "image2image", "inpaint"]
    model: str
    negative: str | None
    seed: int | None
    index: int
    width: int | None
    height: int | None
    steps: int | None
    solver: str | None
    spacing: str | None
    eta: float | None
    scale: float | None
    rescale: float | None
    interval: tuple[float, float] | None
    strength: float | None
    image_scale: float | None
    mask_blur: int
    refiner: str | None
    refiner_at: float
    emphasis: str | None
    clip_skip: int | None
    strict: bool
    precision: str | None


def paint(prompt: str = "", *, device: str | None = None, **options: Unpack[Options]) -> Picture:
    """Paint one picture from words.

    Args:
        prompt: what to paint; empty paints anything.
        device: "cpu", "cuda", "mps"; the best one when not given.
        options: fields of `Request`.

    Raises:
        InvalidInput: an option outside its domain; UnknownName with the nearest name.
        InvalidFile: a model's file is missing or damaged.
    """
    return next(paint_all([Request(prompt=prompt, **options)], device=device))


def edit(
    image: str | os.PathLike[str] | Image,
    prompt: str = "",
    *,
    mask: str | os.PathLike[str] | Image | None = None,
    device: str | None = None,
    **options: Unpack[Options],
) -> Picture:
    """Paint over a picture, or with a mask only where it is white; outside the mask every byte stays.

    Args:
        image: a file, or a Pillow image, which the record then carries whole.
        mask: of the picture's size. Without one, ``recipe="inpaint"`` repaints what is transparent.

    Raises:
        InvalidInput, InvalidFile: as `paint`, and for pictures that cannot be read or do not fit each other.
    """
    given: dict[str, Any] = {"recipe": "image2image" if mask is None else "inpaint", **options}
    request = Request(prompt=prompt, image=_source(image), mask=None if mask is None else _source(mask), **given)
    return next(paint_all([request], device=device))


def paint_all(requests: Iterable[Request], *, device: str | None = None) -> Iterator[Picture]:
    """Paint several requests, each as if it were alone: no picture depends on the others or on their order."""
    from .painter import Painter

    for request in requests:
        yield Painter.load(request.model, device=device, precision=request.precision).paint(request)


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


def replay(path: str | os.PathLike[str], *, device: str | None = None) -> Replay:
    """Paint a file's record again and compare; a lossy file is compared after the same encoding.

    Raises:
        InvalidFile: the file carries no record, or its input picture is gone.
    """
    return compare(path, next(paint_all([recorded(path)], device=device)))


def recorded(path: str | os.PathLike[str]) -> Request:
    """The request that a file was painted by.

    Raises:
        InvalidFile: the file carries no record, or a damaged one.
    """
    carried = files.carried(path)
    if carried.record is None:
        more = " It carries A1111 parameters, which `danqing inspect` shows." if carried.parameters else ""
        raise InvalidFile(f"{path} carries no danqing record, so there is nothing to replay.{more}")
    if not isinstance(carried.record.get("request"), dict):
        raise InvalidFile(f"{path} carries a damaged danqing record: it holds no request")
    try:
        return Request(**carried.record["request"])
    except InvalidInput as error:
        raise InvalidFile(f"the record in {path} is none that danqing {__version__} can paint: {error}") from None


def compare(path: str | os.PathLike[str], picture: Picture) -> Replay:
    """A file and the picture that its record paints now."""
    import numpy as np

    carried = files.carried(path)
    then, encoding = (part if isinstance(part, dict) else {} for part in map((carried.record or {}).get, ("record", "encoding")))
    old = files.read(path)
    if encoding.get("format") not in files.WRITABLE.values() or not isinstance(encoding.get("quality", 95), int):
        encoding = {"format": carried.format}
    new = files.reread(files.encode(picture.image, encoding))
    if new.size != old.size:
        why = f"not comparable: the file is {old.width}×{old.height}, the record paints {new.width}×{new.height}: it was resized since"
        return Replay(exact=False, max_abs=255, mean_abs=255.0, why=why, picture=picture)
    apart = np.abs(np.asarray(old.convert("RGBA"), np.int16) - np.asarray(new.convert("RGBA"), np.int16))
    most, mean = int(apart.max()), float(apart.mean())
    what = f"exact: every pixel of {old.width}×{old.height} is the same"
    if encoding["format"] != "PNG":
        what += f", after the same {encoding['format']} encoding"
    if most:
        what = f"not exact: up to {most} of 255 levels apart, {mean:.4f} on average. {_reason(then, picture.record, carried, encoding)}"
    return Replay(exact=most == 0, max_abs=most, mean_abs=mean, why=what, picture=picture)


def _reason(then: Mapping[str, Any], now: Mapping[str, Any], carried: files.Carried, encoding: Mapping[str, Any]) -> str:
    """Why two paintings of one request differ, as far as their records tell."""
    if carried.format != encoding["format"]:
        return f"It was painted as {encoding['format']} and is {carried.format} now: it was converted."
    changed = [f"{key}: {then.get(key)} then, {now.get(key)} now" for key in now if then.get(key) != now.get(key)]
    if changed:
        return "What changed since: " + "; ".join(changed) + "."
    return "Machine, versions and weights are the same, so the file was edited, or something here is not reproducible."


def _source(image: str | os.PathLike[str] | Image) -> str:
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    if not hasattr(image, "save"):
        raise InvalidInput(f"a {type(image).__name__} was given for a picture; possible are a file's path and a Pillow image")
    return files.data_uri(image)
