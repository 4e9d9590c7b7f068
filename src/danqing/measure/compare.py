"""Models side by side on the same art: each paints as many pictures of the same classes, and all are measured by the
same features.

for said in compare(["vae", "pixelcnn"], Path("art"), known=Path("art-trained")):
    ...                                            Progress while they paint, then a Row for each
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..painting.generators.base import GENERATORS
from ..painting.load import load
from ..painting.loaded import LoadedModel
from ..prompt.classes import Classes
from ..request.request import Request
from ..store.find import find
from ..store.model import Model
from ..weights import store
from . import bits, features
from .bench import REAL, Bench, Row, Shown
from .gallery import Gallery, fitted

#: How few pictures a model paints at least: precision and recall look for a picture's third neighbour.
LEAST = 5
#: Fields of a request that trade variety or time for looks: a row names those that its model uses.
TRADES = ("truncation", "scale", "steps", "solver")
#: The sizes that the features are read from, in pixels.
SIZES = (8, 16, 32, 64)
KINDS = {"vae": "VAE", "pixelcnn": "autoregression", "stylegan2": "GAN", "biggan": "GAN", "cyclegan": "GAN"}


class Progress(NamedTuple):
    """How far the work is: what is done, e.g. a model's name, ``done`` of ``of``."""

    what: str
    done: int
    of: int


def compare(
    models: Sequence[str],
    art: Path,
    *,
    known: Path | None = None,
    count: int = 500,
    size: int | None = None,
    minutes: float = math.inf,
    device: str | None = None,
    stated: Mapping[str, Any] = MappingProxyType({}),
    folder: Path | None = None,
) -> Iterator[Progress | Row]:
    """The art itself, then the models in their order.

    Args:
        models: names or folders.
        art: a folder of pictures that no model was trained on; subfolders are classes, and their names the prompts.
        known: the art that the models were trained on, laid out alike: it gives the floor and the novelty.
        count: how many pictures each paints, at most as many as the art has.
        size: at which pictures are compared, one of `SIZES`; the largest that no model paints less than where not
            given.
        minutes: how long a model may paint; one that is slower paints fewer pictures, `LEAST` at least.
        stated: fields of `Request`, for the models that use them; else each model's own values hold.
        folder: of other features than those that ship.

    Raises:
        UnknownName: a model that is not there, or a class that a model does not know.
        InvalidInput: a count or a size that is not possible. InvalidFile: there are not pictures enough.
    """
    chosen = {name: find(name) for name in models}
    if not chosen:
        raise InvalidInput("no model was named: name one or several, as `danqing models` lists them")
    if isinstance(count, bool) or count < LEAST:
        raise InvalidInput(f"count: {count} was given; possible is a whole number from {LEAST} up")
    size = size or max((s for s in SIZES if s <= min(map(_side, chosen.values()))), default=SIZES[0])
    if size not in SIZES:
        raise InvalidInput(f"size: {size} was given; possible is one of {', '.join(map(str, SIZES))}")
    for name, model in chosen.items():
        if model.core == "generator" and "text2image" not in GENERATORS[model.components[model.core].family].recipes:
            raise InvalidInput(
                f"{name} makes pictures of other pictures; possible here are models that paint from nothing: "
                "leave it out"
            )
    net, gallery = features.load(folder), Gallery.of(art, LEAST)
    trained = Gallery.of(known, LEAST) if known else None
    asked = {name: prompts(model, gallery.classes) for name, model in chosen.items()}  # before anything is painted
    yield Progress("real art", 0, 1)
    first = gallery.first(min(count, len(gallery.paths)))
    bench = Bench(net=net, size=size, gallery=first, real=Shown.of(net, first.pictures(size)))
    few = (f"{count} pictures were asked for, and there are {len(first.paths)}",) if len(first.paths) < count else ()
    notes = (*few, *gallery.notes)
    row = Row(
        name="real art", kind=REAL, count=len(first.paths), size=size, warnings=notes, pictures=bench.real.pictures
    )
    yield replace(row, sharpness=1.0, diversity=1.0, novelty=1.0 if trained else None)
    if trained is not None:
        alike = Shown.of(net, trained.like(first.classes).pictures(size))
        bench = replace(bench, known=Shown.of(net, trained.pictures(size)), others=alike)
        row = Row(
            name="art trained on",
            kind=REAL,
            count=len(alike.pictures),
            size=size,
            warnings=trained.notes,
            pictures=alike.pictures,
        )
        yield bench.measured(row, alike)
    for name in chosen:
        wanted = [
            Request(model=name, prompt=prompt, seed=seed, finish=())
            for seed, prompt in enumerate(asked[name][: len(first.paths)])
        ]
        yield Progress(name, 0, len(wanted))
        yield from _model(load(name, device), wanted, stated, bench, minutes)


def _model(
    loaded: LoadedModel, wanted: list[Request], stated: Mapping[str, Any], bench: Bench, minutes: float
) -> Iterator[Progress | Row]:
    """One model: paint, measure."""
    model, name = loaded.model, wanted[0].model
    used = {field: value for field, value in stated.items() if field in loaded.fields_used(wanted[0])}
    wanted = [request.but(**used) for request in wanted]
    picture = loaded.paint(wanted[0])  # warm
    own: list[Tensor] = []
    took: list[float] = []
    warnings: dict[str, None] = {}
    while len(own) < len(wanted) and (len(own) < LEAST or sum(took) < 60 * minutes):
        start = time.perf_counter()
        picture = loaded.paint(wanted[len(own)])
        took.append(time.perf_counter() - start)
        own.append(fitted(picture.image, bench.size))
        warnings |= dict.fromkeys(picture.warnings)
        yield Progress(name, len(own), len(wanted))
    painted, said = Shown.of(bench.net, torch.stack(own)), picture.request.stated()
    row = Row(
        name=model.name,
        kind=kind(model),
        family=model.components[model.core].family,
        count=len(own),
        floor=bench.floor(len(own)),
        novelty=bench.novelty(painted),
        seconds=statistics.median(took),
        parameters=parameters(model),
        core_hours=core_hours(model),
        size=_side(model),
        settings=", ".join(f"{field} {said[field]}" for field in TRADES if field in said),
        machine=f"{picture.record.get('gpu', picture.record['cpu'])}, {picture.record['precision']}, "
        f"{picture.record['threads']} threads",
        warnings=tuple(warnings),
        pictures=painted.pictures,
    )
    yield Progress(f"{name}: bits", len(own), len(own))
    found = bits.of(loaded, bench.gallery.first(min(bits.FEW, len(wanted))), [request.prompt for request in wanted])
    if found is not None:
        row = replace(row, bits=found.mean, bits_error=found.error, bits_of=found.of)
    yield bench.measured(row, painted)


# ------------------------------------------------------------------------------------------------------------- models


def kind(model: Model) -> str:
    """What people call such a model."""
    return KINDS.get(model.components[model.core].family, "diffusion")


def prompts(model: Model, classes: Sequence[str]) -> tuple[str, ...]:
    """What a model is asked for, for pictures of these classes: nothing where it hears nothing.

    Raises:
        UnknownName: it knows classes, and one of these is none.
    """
    names = model.text.get("names")
    if names:
        known = Classes(tuple(map(tuple, names)))
        for name in sorted(set(classes)):
            known.of(name)
        return tuple(classes)
    return tuple(classes) if "text" in model.components else ("",) * len(classes)


def parameters(model: Model) -> int:
    """How many numbers the files of its networks hold."""
    files = {model.file_of(role) for role in model.components}
    return sum(math.prod(tensor.shape) for file in files for tensor in store.header(file).tensors.values())


def core_hours(model: Model) -> float | None:
    """What its training took, where its description says so."""
    hours = model.trained.get("core_hours")
    return None if hours is None else float(hours)


def _side(model: Model) -> int:
    return min(model.defaults.get(name, 512) for name in ("width", "height"))
