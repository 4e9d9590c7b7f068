"""Hints of given pictures: by the name of a kind, at the size that is painted in, their networks found and
remembered."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from ... import installed
from ...errors import UnknownName
from ...hint.base import Draw, Hint, Warn
from ...hint.fit import Mode, Size, at_size
from ...hint.names import SHIPPED
from ...hint.records import hint
from ...store import library

if TYPE_CHECKING:
    from torch import nn


def file(name: str) -> Path:
    """The file of a hint's network: by its own name, its path, or its name in the folders of models.

    Raises:
        UnknownName: there is none. InvalidInput: the package that carries it is not installed.
    """
    if name in SHIPPED:
        return installed.require(name, SHIPPED[name])
    if (path := Path(os.path.expanduser(name))).is_file():
        return path
    if name not in (found := library.depths()):
        raise UnknownName("network of a hint", name, (*SHIPPED, *found, "the path of a file"))
    return found[name]


def network(name: str) -> nn.Module:
    """The network of a hint, by what `file` finds."""
    from ...weights.load import load  # torch, which most hints do without

    return load(file(name))


def make(record: Hint, device: str | None = None) -> Draw:
    """What draws a record's hint; the latest that run networks are remembered with them."""
    return _made(cast(Any, record), device) if record.networks else record.make()  # frozen, so hashable


@lru_cache(maxsize=2)
def _made(record: Hint, device: str | None) -> Draw:
    return record.make(network, device)


def hinted(
    picture: Image.Image,
    kind: str | Hint,
    size: Size | None = None,
    mode: Mode = "fit",
    *,
    device: str | None = None,
    warn: Warn = lambda said: None,
) -> Image.Image:
    """The hint of a picture.

    Args:
        kind: a record, or as people write one, "edges:low=50"; A1111's names are understood.
        size: (width, height); the picture's own when not given.
        mode: how a picture of another ratio comes to the size, as `danqing.hint.fit.Mode`.
        warn: takes a sentence on what is other than one might think.

    Raises:
        UnknownName, InvalidInput: no such kind, parameter, value or network.
        InvalidFile: a network's file is damaged.
    """
    record = hint(kind, warn) if isinstance(kind, str) else kind
    return at_size(record, make(record, device), picture, size, mode, warn)
