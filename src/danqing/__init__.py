"""丹青 danqing: one engine for generative painting.

>>> import danqing
>>> danqing.paint("a red fox, 3d style", seed=42).save("fox.png")   # doctest: +SKIP

Nothing heavy is imported before it is used: torch loads with the first picture.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .api import (
        Replay,
        edit,
        interpolate,
        models,
        outpaint,
        paint,
        paint_all,
        reconstruct,
        replay,
        states,
        touch_up,
        translate,
    )
    from .errors import DanqingError, InvalidFile, InvalidInput, UnknownName
    from .measure.best import best
    from .measure.identity import face_distance, find_faces
    from .painting.load import load
    from .painting.painter import Painter
    from .pictures.picture import Picture
    from .request.fast import FAST
    from .request.request import Request
    from .types import State

_HOMES = {
    "Replay": ".api",
    "best": ".measure.best",
    "face_distance": ".measure.identity",
    "find_faces": ".measure.identity",
    "edit": ".api",
    "interpolate": ".api",
    "models": ".api",
    "outpaint": ".api",
    "paint": ".api",
    "paint_all": ".api",
    "reconstruct": ".api",
    "replay": ".api",
    "states": ".api",
    "touch_up": ".api",
    "translate": ".api",
    "load": ".painting.load",
    "Painter": ".painting.painter",
    "Picture": ".pictures.picture",
    "FAST": ".request.fast",
    "Request": ".request.request",
    "State": ".types",
    "DanqingError": ".errors",
    "InvalidFile": ".errors",
    "InvalidInput": ".errors",
    "UnknownName": ".errors",
}

__all__ = [
    "FAST",
    "DanqingError",
    "InvalidFile",
    "InvalidInput",
    "Painter",
    "Picture",
    "Replay",
    "Request",
    "State",
    "UnknownName",
    "__version__",
    "best",
    "edit",
    "face_distance",
    "find_faces",
    "interpolate",
    "load",
    "models",
    "outpaint",
    "paint",
    "paint_all",
    "reconstruct",
    "replay",
    "states",
    "touch_up",
    "translate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
