"""The finishes of a request, done to its picture: each loaded once, each filled with its network in the picture's
record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import nn

from ..errors import UnknownName
from ..finish import upscalers
from ..finish.records import Finish, Learned, Record
from ..finish.warned import WithWarnings
from ..pictures.picture import Picture
from ..request.request import Resolved
from ..store import library
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


def make(record: Record, device: torch.device) -> Finish:
    """A record's finish on a device; the latest that run networks are remembered with them."""
    if not record.networks:
        return record.make()
    return _made(cast(Any, record), str(device))  # frozen, so hashable, which its type does not say


@lru_cache(maxsize=4)
def _made(record: Record, device: str) -> Finish:
    return record.make(network, device)


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
    for finish in finishes:
        finished, found = zip(*(with_warnings(finish, frame) for frame in frames), strict=True)
        frames, warnings = finished, [*warnings, *dict.fromkeys(chain.from_iterable(found))]
    hashes = {name: library.digest(file(name)) for record in picture.request.finish for name in record.networks}
    more = {"finish": round(time.perf_counter() - began, 4)} if finishes else {}
    total = {"total": round(timings["total"] + sum(more.values()), 4)}
    return replace(
        picture,
        frames=frames,
        warnings=tuple(warnings),
        record={**picture.record, **({"finish": hashes} if hashes else {})},
        timings={**timings, **more, **total},
    )


def with_warnings(finish: Finish, image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The finished picture, and what the finish has to say of it."""
    return finish.with_warnings(image) if isinstance(finish, WithWarnings) else (finish(image), ())
