"""LoRAs in the weights of a checkpoint: ``W + Σ w_i ΔW_i``, as `danqing.adapt.lora` attaches them beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapt import layouts
from ..adapt.deltas import Delta
from ..errors import InvalidInput
from ..store.tensors import Due, fit
from ..weights.layouts import ldm, sd3
from ..weights.layouts.keymap import Source
from .given import Given
from .job import Job, Plan, due
from .networks import Networks, networks

#: How many names a note lists.
LISTED = 3


class Change(NamedTuple):
    """What is added to a tensor of ours that lies in one of the file, at a strength."""

    source: Source
    delta: Delta
    strength: float
    of_bias: bool
    shape: tuple[int, ...]


def plan(job: Job) -> Plan:
    """Every tensor of the checkpoint, those that a LoRA changes with its change.

    Raises:
        InvalidFile: a LoRA does not fit the checkpoint. InvalidInput: the first file is no checkpoint, or another
            no LoRA.
    """
    base, *loras = job.given
    nets = networks(base)
    changes: dict[str, list[Change]] = {}
    notes: list[str] = []
    for one, weight in zip(loras, job.weights, strict=True):
        if not one.is_lora:
            raise InvalidInput(
                f"{one.name} is no LoRA{' but ' * bool(one.what)}{one.what}: --method sum mixes checkpoints"
            )
        for change in _changes(nets, one, notes):
            strength = weight(change.source.name)
            if strength:
                changes.setdefault(change.source.name, []).append(change._replace(strength=strength))
    tensors: dict[str, Due] = {}
    for name, tensor in base.tensors.items():
        dtype = job.type_of(tensor.dtype)
        tensors[name] = due(tensor, dtype, partial(_changed, tensor, changes.get(name, ()), name, dtype))
    return Plan(tensors=tensors, lead=base, notes=notes)


def _changes(nets: Networks, one: Given, notes: list[str]) -> list[Change]:
    """What a LoRA's file changes, at the strength 1."""
    read = layouts.read(
        {name: tensor.detach() for name, tensor in one.tensors.items()},
        nets.nets,
        name=one.name,
        metadata=one.metadata,
        maps=(sd3.mmdit,) if nets.model.startswith("SD3") else (ldm.unet,),
    )
    if read.unused:
        more = ", …" if len(read.unused) > LISTED else ""
        notes.append(
            f"{one.name}: {len(read.unused)} of its tensors change nothing in this model: "
            f"{', '.join(read.unused[:LISTED])}{more}"
        )
    found: list[Change] = []
    for role, deltas in read.deltas.items():
        shapes = {name: tuple(tensor.shape) for name, tensor in nets.nets[role].state_dict().items()}
        for layer, delta in deltas.items():
            for end, there in (("weight", delta.weight), ("bias", delta.bias)):
                name = f"{layer}.{end}"
                if there is None:
                    continue
                if name not in shapes:
                    notes.append(f"{one.name}: {layer} has no bias, so that its change of one is left out")
                    continue
                found.append(Change(nets.places[role][name], delta, 1.0, end == "bias", shapes[name]))
    return found


def _changed(tensor: Due, changes: Sequence[Change], name: str, dtype: torch.dtype) -> Tensor:
    """A tensor of the file with its changes, all of the weights as they were, rounded once."""
    given = tensor.detach()
    if not changes:
        return fit(given, dtype, name)
    wide = given.to(torch.promote_types(given.dtype, torch.float32))
    place = changes[0].source
    was = list(place.way.apart(wide, place.parts)) if place.way else [wide]
    new = list(was)
    for change in changes:
        part = change.source.part
        moved = change.strength * _delta(change, was[part].reshape(change.shape))
        new[part] = new[part] + moved.reshape(was[part].shape)
    made = place.way.together(new) if place.way else new[0]
    if not torch.isfinite(made).all():
        raise InvalidInput(f"NaN or infinity in the tensor {name!r} with its LoRAs: nothing was written")
    return fit(made, dtype, name)


def _delta(change: Change, weight: Tensor) -> Tensor:
    delta = change.delta
    if change.of_bias:
        assert delta.bias is not None
        return delta.bias.to(weight).reshape(-1)
    assert delta.weight is not None
    return delta.weight.change(weight)
