"""Every hint, `HINTS`, and which one is meant by a name.

A record is text, ``edges:low=50:high=120``, or JSON, as a finish is (`danqing.finish.records`); the same record draws
the same hint of the same picture.
"""

from __future__ import annotations

from ..errors import UnknownName
from ..inputs.named import named
from ..inputs.records import does, domains, name_of
from ..tables import Table
from .base import Hint, Warn
from .kinds import (
    Blur,
    ColourGrid,
    Depth,
    DrawnLines,
    Edges,
    Face,
    Given,
    Grey,
    Inpaint,
    LineArt,
    Normal,
    Palette,
    Pose,
    Scribble,
    Segmentation,
    Shuffle,
    SoftEdge,
    Straight,
    Threshold,
    Tile,
)
from .names import NETWORKS, OTHERS, title

#: Every hint by its name.
HINTS: Table[type[Hint]] = Table(
    "hint",
    {
        name_of(kind): kind
        for kind in (
            *(Edges, SoftEdge, LineArt, Scribble, Straight, DrawnLines),
            *(Depth, Normal, Pose, Face, Segmentation, Inpaint, Given),
            *(Tile, Blur, ColourGrid, Palette, Grey, Threshold, Shuffle),
        )
    },
    kind="hint.base:Hint",
    columns={
        "parameters": domains,
        "what it draws": does,
        "also called": lambda kind: ", ".join(
            f"`{name}`" for name, (ours, _) in OTHERS.items() if ours == name_of(kind)
        ),
    },
)


def hint(given: str, warn: Warn = lambda said: None) -> Hint:
    """The record of a hint as people write it: ``edges``, ``edges:low=50:high=120``, or by another name of the field,
    ``canny``, ``lineart_standard``.

    Args:
        warn: takes a sentence where the name is of something else that a hint of ours stands for.

    Raises:
        UnknownName: no such hint or parameter. InvalidInput: a value outside its domain.
    """
    name, said = named("hint", given, "edges:low=50")
    if name not in HINTS:
        ours, more, network = _other(name)
        if network:
            warn(f"{name} is drawn by a network that does not ship; {ours} stands for it: {does(HINTS[ours])}")
        name, said = ours, {**more, **said}
    return HINTS[name](**said)


def _other(name: str) -> tuple[str, dict[str, str], bool]:
    if (found := OTHERS.get(title(name))) is None:
        raise UnknownName("hint", name, (*HINTS, *OTHERS))
    return found[0], dict(found[1]), title(name) in NETWORKS
