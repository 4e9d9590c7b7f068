"""The ways to keep a model's weights in few bits, by name. Known without loading torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...tables import Table

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Quantiser:
    """A way to keep the weights of a model's networks.

    Args:
        attach: has the network of a role ("denoiser", "text", "codec", …) keep its weights so, those that it has and
            those that it is given later; what it returns makes the layers plain ones again.
        does: in one sentence.
    """

    attach: Callable[[str, nn.Module], Callable[[], None]]
    does: str = ""


QUANTISERS: Table[Quantiser] = Table(
    "quantiser",
    {
        "none": Quantiser(attach=lambda role, net: lambda: None, does="Weights in the precision that is computed in."),
        "int8": "run.quantise.layers:INT8",
        "int8-weights": "run.quantise.layers:INT8_WEIGHTS",
        "int4": "run.quantise.layers:INT4",
    },
    kind="run.quantise.quantisers:Quantiser",
    columns={"what is kept in few bits": lambda quantiser: quantiser.does},
)
