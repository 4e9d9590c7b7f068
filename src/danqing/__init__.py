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
    from .api import Replay, edit, interpolate, outpaint, paint, paint_all, reconstruct, replay, touch_up, translate
    from .errors import DanqingError, InvalidFile, InvalidInput, UnknownName
    from .pictures.picture import Picture
    from .request.request import Request

_HOMES = {
    "Replay": ".api",
    "edit": ".api",
    "interpolate": ".api",
    "outpaint": ".api",
    "paint": ".api",
    "paint_all": ".api",
    "reconstruct": ".api",
    "replay": ".api",
    "touch_up": ".api",
    "translate": ".api",
    "Picture": ".pictures.picture",
    "Request": ".request.request",
    "DanqingError": ".errors",
    "InvalidFile": ".errors",
    "InvalidInput": ".errors",
    "UnknownName": ".errors",
}

__all__ = [
    "DanqingError",
    "InvalidFile",
    "InvalidInput",
    "Picture",
    "Replay",
    "Request",
    "UnknownName",
    "__version__",
    "edit",
    "interpolate",
    "outpaint",
    "paint",
    "paint_all",
    "reconstruct",
    "replay",
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
