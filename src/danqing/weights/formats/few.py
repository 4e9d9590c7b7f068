"""Weights that a safetensors file of ours keeps in few bits: what its metadata say of them.

Such a weight stands in the file as the tensors of its kind, ``NAME.values``, ``NAME.scale`` and others, in the order in
which a kernel multiplies them, so that nothing is computed when they are read. The header has it as one tensor of its
own name and shape, in the type that it was before, so that all who look for networks find them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InvalidFile, UnknownName
from .format import BITS, Spec

#: Metadata key of our own files: JSON, {"version", "weights": the name of each weight -> [kind, type, shape]}.
BITS_KEY = "danqing.bits"
#: Metadata key: by which quantiser they were made, for people.
QUANTISE_KEY = "danqing.quantise"
#: Of the order of the numbers; another one is refused.
VERSION = 1
#: Outputs that are computed together, and inputs that are multiplied at once, as in kernels/octets.cpp.
PANEL, FOUR = 64, 4
#: How many weights share a step and an offset, as in GGUF's Q4_1.
GROUP = 32

Shape = tuple[int, ...]
#: The tensors of a weight, by their names behind its own: type and shape of each.
Parts = Mapping[str, tuple[str, Shape]]


def _rows(shape: Shape) -> Parts:
    return {"values": ("I8", shape), "scale": ("F32", shape[:1])}


def _panels(shape: Shape) -> Parts:
    panels, fours = -(-shape[0] // PANEL), -(-shape[1] // FOUR)
    values = (panels, math.prod(shape[2:]), fours, PANEL, FOUR)
    return {"values": ("I8", values), "sums": ("I32", (panels * PANEL,)), "scale": ("F32", (panels * PANEL,))}


def _groups(shape: Shape) -> Parts:
    groups = (shape[0], -(-math.prod(shape[1:]) // GROUP))
    return {"values": ("U8", (*groups, GROUP // 2)), "step": ("F16", groups), "offset": ("F16", groups)}


#: By kind: the shape of a weight -> its tensors. `danqing.weights.bits.KINDS` has what they stand for.
KINDS: Mapping[str, Callable[[Shape], Parts]] = {"rows": _rows, "panels": _panels, "groups": _groups}


@dataclass(frozen=True, kw_only=True)
class Few(Spec):
    """A weight in few bits; ``start`` and ``stop`` are of its values.

    Args:
        kind: of `KINDS`.
        parts: its tensors.
    """

    kind: str
    parts: Mapping[str, Spec]


def folded(path: Path, tensors: Mapping[str, Spec], said: str) -> dict[str, Spec]:
    """The tensors of a file, those of a weight in few bits in one.

    Args:
        said: what the metadata say under `BITS_KEY`.

    Raises:
        InvalidFile: the file is of another version, or has a kind that is not known here. ValueError, LookupError,
            TypeError: it contradicts itself.
    """
    stated: Any = json.loads(said)
    if (version := stated["version"]) != VERSION:
        raise InvalidFile(
            f"{path} keeps its weights in few bits in version {version!r:.20} of their order, and this danqing reads "
            f"{VERSION}: convert the model that it was made of again, with --quantise"
        )
    found, left = dict[str, Spec](), dict(tensors)
    for name, (kind, dtype, shape) in stated["weights"].items():
        if kind not in KINDS:
            raise InvalidFile(
                f"{path} was written by another version of danqing: {UnknownName('kind of bits', kind, KINDS)}"
            )
        if not (2 <= len(shape) <= 4 and all(type(n) is int and n > 0 for n in shape)) or dtype not in BITS:
            raise ValueError(f"the weight {name!r} is said to be {dtype} {shape}")
        parts = {own: left.pop(f"{name}.{own}") for own in KINDS[kind](tuple(shape))}
        for own, wanted in KINDS[kind](tuple(shape)).items():
            if (parts[own].dtype, parts[own].shape) != wanted:
                raise ValueError(f"{name}.{own} is {parts[own].dtype} {list(parts[own].shape)}, not {wanted}")
        values = parts["values"]
        found[name] = Few(dtype=dtype, shape=tuple(shape), start=values.start, stop=values.stop, kind=kind, parts=parts)
    if found.keys() & left.keys():
        raise ValueError("a name stands in it twice")
    return {**left, **found}
