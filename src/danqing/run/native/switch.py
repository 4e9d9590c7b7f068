"""The switch that leaves kernels out: an environment variable, which `--kernels` sets."""

from __future__ import annotations

import os

from ...errors import UnknownName
from ..measured import chosen
from .build import KERNELS

#: "off" leaves all kernels out, names of `KERNELS`, separated by commas, leave out those; "on", or nothing, none.
VARIABLE = "DANQING_KERNELS"


_given: str | None = None


def given() -> str:
    """What the switch is set to: by `turn`, by the variable, or as was measured on this machine."""
    global _given
    if _given is None:
        _given = os.environ.get(VARIABLE) or chosen().kernels
    return _given


def turn(text: str) -> None:
    """Set the switch, for this process and those that it starts.

    Raises:
        UnknownName: it names a kernel that there is not; nothing is changed.
    """
    global _given
    left_out(text)
    _given = os.environ[VARIABLE] = text


def left_out(text: str) -> frozenset[str]:
    """The kernels that such a text leaves out.

    Raises:
        UnknownName: it names one that there is not.
    """
    names = frozenset(name.strip() for name in text.lower().split(",")) - {"", "on"}
    if names == {"off"}:
        return frozenset(KERNELS)
    for name in sorted(names - KERNELS.keys()):
        raise UnknownName("kernel", name, ("on", "off", *KERNELS))
    return names
