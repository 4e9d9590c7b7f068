"""The engines by name: each changes how the layers of a loaded network are computed, and comes off without trace.
Known without loading torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput, UnknownName
from ...tables import Table
from ..measured import chosen

if TYPE_CHECKING:
    import torch
    from torch import nn

#: The environment variable that overrides the choice.
VARIABLE = "DANQING_ENGINE"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A way to compute a network's layers.

    Args:
        attach: has a network computed so; what it returns makes the network what it was, bit for bit.
        reason: why it cannot compute on a device, "" where it can.
        aside: why torch computes a network as it is now in its place, "" where it does not.
        record: what of it a picture's record is to hold: its bytes may depend on that.
        keeps: the weights stay in memory in a form of its own, so that a network cannot leave it meanwhile.
        steady: a picture is to have the same bytes in a batch of any size, which is proved before it is relied on.
        sketch: has a network on the meta device make what it makes by this engine; what it returns says then, by the
            layers called, how many bytes stand in the place of each one's weight.
        does: in one sentence.
    """

    attach: Callable[[nn.Module], Callable[[], None]]
    reason: Callable[[torch.device], str] = lambda where: ""
    aside: Callable[[nn.Module], str] = lambda net: ""
    record: Callable[[], Mapping[str, Any]] = dict[str, Any]
    keeps: bool = False
    steady: bool = False
    sketch: Callable[[nn.Module], Callable[[], Mapping[nn.Module, int]]] = lambda net: dict
    does: str = ""


ENGINES: Table[Engine] = Table(
    "engine",
    {
        "torch": Engine(attach=lambda net: lambda: None, does="PyTorch as it is."),
        "packed": "run.engine.packed:PACKED",
        "openvino": "run.engine.openvino:OPENVINO",
        "compile": "run.engine.compiled:COMPILE",
        "xla": "run.engine.xla:XLA",
        "sliced": "run.engine.sliced:SLICED",
    },
    kind="run.engine.engines:Engine",
    columns={"how it computes": lambda engine: engine.does},
)


def find_engine(where: torch.device, override: str | None = None) -> str:
    """The name of the engine to compute with on a device.

    In this order: ``override``, the variable DANQING_ENGINE, on a processor what was measured there, "packed" where it
    can, "sliced" on MPS, which has no fused attention, else "torch"; "auto" is no choice.

    Raises:
        UnknownName: there is no such engine. InvalidInput: it cannot compute there; what would is said.
    """
    for kind, given in (("engine", override), (f"engine in {VARIABLE}", os.environ.get(VARIABLE))):
        if given and given != "auto":
            if given not in ENGINES:
                raise UnknownName(kind, given, ("auto", *ENGINES))
            if why := ENGINES[given].reason(where):
                able = [name for name, engine in ENGINES.usable().items() if not engine.reason(where)]
                raise InvalidInput(f"{kind}: {given} was given, and {why}; possible here is {', '.join(able)}")
            return given
        if given:
            break  # "auto" said outright is not overridden by the variable
    usual = {"cpu": (chosen().engine, "packed"), "mps": ("packed", "sliced")}.get(where.type, ("packed",))
    return next((name for name in usual if _able(name, where)), "torch")


def _able(name: str, where: torch.device) -> bool:
    """Whether there is such an engine, and it computes on the device."""
    try:
        return name in ENGINES and not ENGINES[name].reason(where)
    except InvalidInput:  # of another package, and broken
        return False
