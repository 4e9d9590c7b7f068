"""The finishes of a request, done to its picture: each loaded once, each filled with its network in the picture's
record."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, cast

import torch
from PIL import Image
from torch import nn

from ..errors import UnknownName
from ..finish import upscalers
from ..finish.records import Finish, Learned, Record
from ..finish.warned import WithWarnings
from ..inputs.records import name_of
from ..pictures.picture import Picture
from ..request.request import Resolved
from ..run.engine.engines import ENGINES
from ..store import library
from ..tables import Table
from ..weights.load import load


def file(name: str) -> Path:
    """The file of a finish's network: by its own name, its path, or its name in the folders of models.

    Raises:
        UnknownName: there is none. InvalidInput, InvalidFile: as `upscalers.find`.
    """
    try:
        return upscalers.find(name)
    except UnknownName as unknown:
        found = library.finishes()
        if name in found:
            return found[name]
        raise UnknownName(unknown.kind, name, (*unknown.possible, *found)) from None


def network(name: str) -> nn.Module:
    """The network of a finish, by what `file` finds."""
    return load(file(name))


class Computes(Protocol):
    """What a finish computes by: a loaded model, as far as is known here."""

    device: torch.device


class Told(NamedTuple):
    """A finished picture, what is to be said of it, and what its record holds of that.

    Args:
        found: what the finish found and did; empty for nothing to record.
        hashes: SHA-256 of what it was done by, beside the record's networks.
    """

    picture: Image.Image
    warnings: tuple[str, ...] = ()
    found: Mapping[str, Any] = MappingProxyType({})
    hashes: Mapping[str, str] = MappingProxyType({})


class Tells(ABC):
    """A finish that tells more of what it did than its picture."""

    def __call__(self, picture: Image.Image) -> Image.Image:
        return self.told(picture).picture

    @abstractmethod
    def told(self, image: Image.Image) -> Told:
        """The finished picture, and what is told of it."""


#: What makes the finishes that paint themselves, by their names: (record, model, request) -> the finish.
PAINTED: Table[Callable[[Any, Any, Resolved], Tells]] = Table(
    "painted", {"detail": "painting.details.detailer:Detailer"}, kind="painting.finishing:Tells"
)


def make(record: Record, model: Computes, request: Resolved) -> Finish:
    """A record's finish of a request's picture, on the device of a loaded model; the latest that run networks are
    remembered with them."""
    name = name_of(record)
    if name in PAINTED:
        return cast(Finish, PAINTED[name](record, model, request))
    if not record.networks:
        return record.make()
    return _made(cast(Any, record), str(model.device), request.engine)  # frozen, so hashable, which its type hides


@lru_cache(maxsize=4)
def _made(record: Record, device: str, engine: str) -> Finish:
    nets = list[nn.Module]()

    def load(name: str) -> nn.Module:
        nets.append(network(name))
        return nets[-1]

    finish = record.make(load, device)
    for net in nets:  # once they are on the device and in the precision
        ENGINES[engine].attach(net)
    return finish


def settle(request: Resolved) -> Resolved:
    """Finishes that state no precision compute in the request's, so that a record holds all that its picture depends
    on."""
    chain = request.finish
    silent = [isinstance(record, Learned) and record.precision is None for record in chain]
    own = {"precision": request.precision}
    filled = tuple(
        record.model_copy(update=own) if mute else record for record, mute in zip(chain, silent, strict=True)
    )
    return request.but(finish=filled) if any(silent) else request


def apply(picture: Picture, finishes: Sequence[Finish], timings: Mapping[str, float]) -> Picture:
    """A picture after the finishes that `make` made of its request, in their order; ``timings`` are of what made the
    picture."""
    began, frames, warnings = time.perf_counter(), picture.frames, list(picture.warnings)
    found, more_hashes = list[Mapping[str, Any]](), dict[str, str]()
    for finish in finishes:
        done = [told(finish, frame) for frame in frames]
        frames = tuple(each.picture for each in done)
        warnings += dict.fromkeys(chain.from_iterable(each.warnings for each in done))
        found += [each.found for each in done if each.found]
        more_hashes |= {name: sha256 for each in done for name, sha256 in each.hashes.items()}
    hashes = {name: library.digest(file(name)) for record in picture.request.finish for name in record.networks}
    hashes |= more_hashes
    more = {"finish": round(time.perf_counter() - began, 4)} if finishes else {}
    total = {"total": round(timings["total"] + sum(more.values()), 4)}
    return replace(
        picture,
        frames=frames,
        warnings=tuple(dict.fromkeys(warnings)),
        record={**picture.record, **({"finish": hashes} if hashes else {}), **({"found": found} if found else {})},
        timings={**timings, **more, **total},
    )


def told(finish: Finish, image: Image.Image) -> Told:
    """The finished picture, and what the finish has to tell of it."""
    if isinstance(finish, Tells):
        return finish.told(image)
    return Told(*finish.with_warnings(image)) if isinstance(finish, WithWarnings) else Told(finish(image))
