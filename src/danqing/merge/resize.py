"""A LoRA at another rank; a layer whose rank is no larger already stays as it is, bit for bit."""

from __future__ import annotations

from torch import Tensor

from ..adapt import layouts
from ..adapt.deltas import LowRank, fitting
from ..errors import InvalidInput
from ..store.tensors import fit
from .factors import factors
from .job import Job, Plan

Parts = dict[str, Tensor]


def plan(job: Job, rank: int | None, energy: float | None) -> Plan:
    """Every tensor of the LoRA, the factors of what has some at their new rank.

    Raises:
        InvalidInput: it is no LoRA. InvalidFile: its parts do not fit each other.
    """
    (given,) = job.given
    if not given.is_lora:
        raise InvalidInput(f"{given.name} is no LoRA{' but ' * bool(given.what)}{given.what}: resize takes one")
    groups: dict[str, Parts] = {}
    names: dict[str, dict[str, str]] = {}
    tensors = {name: tensor.detach() for name, tensor in given.tensors.items()}
    for name, tensor in tensors.items():
        if split := layouts.part_of(name):
            groups.setdefault(split[0], {})[split[1]] = tensor
            names.setdefault(split[0], {})[split[1]] = name
    stated = layouts.said(given.metadata, given.name)
    kept: list[str] = []
    ranks: set[int] = set()
    for group, parts in groups.items():
        if not {"up", "down"} <= parts.keys() or parts.keys() & {"dora_scale", "magnitude"}:
            kept.append(group)
            continue
        with fitting():
            made = _resized(parts, layouts.scale_of(parts, stated, group), rank, energy)
        ranks.add(min(len(made["down"]), len(parts["down"])))
        if len(made["down"]) < len(parts["down"]):
            tensors = {name: tensor for name, tensor in tensors.items() if name != names[group].get("mid")}
            tensors |= {names[group][part]: tensor for part, tensor in made.items()}
    written = {name: fit(tensor, job.type_of(tensor.dtype), name) for name, tensor in tensors.items()}
    said = {
        key: text
        for key, text in given.metadata.items()
        if key.startswith(("ss_", "modelspec.")) or key == layouts.CONFIG_KEY
    }
    if ranks:
        said["ss_network_dim"] = str(max(ranks)) if len(ranks) == 1 else "Dynamic"
    notes = [
        f"of no rank that could be changed, kept as they are: {', '.join(kept[:3])}"
        + (f" and {len(kept) - 3} more" if len(kept) > 3 else "")
    ]
    return Plan(tensors=written, lead=given, metadata=said, notes=notes if kept else ())


def _resized(parts: Parts, scale: layouts.Scale, rank: int | None, energy: float | None) -> Parts:
    """The factors of the same change at their new rank; their scale is that which the file states for it."""
    up, down, mid = (parts[part].float() if part in parts else None for part in ("up", "down", "mid"))
    assert up is not None and down is not None
    like = down.new_empty(len(up), down.shape[1], *(mid if mid is not None else down).shape[2:])
    change = LowRank(up, down, mid, scale(len(down))).change(like)
    new_up, new_down = factors(change.flatten(1), rank, energy)
    ones = [1] * (change.ndim - 2)
    return {
        "up": (new_up / scale(len(new_down))).reshape(*new_up.shape, *ones).to(parts["up"].dtype),
        "down": new_down.reshape(len(new_down), *change.shape[1:]).to(parts["down"].dtype),
    }
