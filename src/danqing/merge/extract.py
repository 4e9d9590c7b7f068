"""A LoRA that makes one checkpoint of another: low-rank factors of every difference of a linear layer or a convolution,
and the differences of biases and norms as they are, in the layout of kohya and LyCORIS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapt.base import layers
from ..errors import InvalidInput
from ..store.tensors import Due, fit
from ..weights.layouts.keymap import Source
from .factors import factors
from .given import ENTRY, alike
from .job import Job, Plan
from .networks import Networks, networks

#: The rank where nothing is said.
RANK = 64
#: What a LoRA's file says of the model that it is for.
ARCHITECTURES = {
    "SD1.x": "stable-diffusion-v1/lora",
    "SD2.x": "stable-diffusion-v2-512/lora",
    "SDXL": "stable-diffusion-xl-v1-base/lora",
    "SDXL refiner": "stable-diffusion-xl-v1-refiner/lora",
    "SD3 medium": "stable-diffusion-3-medium/lora",
}


class Layer(NamedTuple):
    """A layer under the name that a LoRA has for it, and where its weight and its bias lie."""

    key: str
    weight: Source
    bias: Source | None


def plan(job: Job, rank: int | None, energy: float | None) -> Plan:
    """The factors, made at once: what is not known before is of which rank they are.

    Raises:
        InvalidInput: as `alike`; or the checkpoints do not differ where a LoRA could make them.
    """
    alike(job.given)
    a, b = job.given
    nets = networks(a)
    rank = rank or (None if energy else RANK)
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    ranks: set[int] = set()
    for layer in _layers(nets):
        for source, of_bias in ((layer.weight, False), (layer.bias, True)):
            if source is None:
                continue
            used.add(source.name)
            was, new = (_taken(one.tensors[source.name], source) for one in (a, b))
            if source.name == ENTRY and was.shape != new.shape:
                raise InvalidInput(f"{a.name} and {b.name} read another number of channels, which no LoRA can change")
            change = new - was.reshape(new.shape)
            if not torch.isfinite(change).all():
                raise InvalidInput(f"NaN or infinity in the difference of {source.name!r}: nothing was written")
            if not change.any():
                continue
            dtype = job.type_of(a.tensors[source.name].dtype)
            made = _parts(change, of_bias, layer.key, rank, energy)
            ranks |= {len(tensor) for name, tensor in made.items() if name.endswith(".lora_down.weight")}
            tensors |= {n: tensor if n.endswith(".alpha") else fit(tensor, dtype, n) for n, tensor in made.items()}
    if not tensors:
        raise InvalidInput(
            f"{a.name} and {b.name} do not differ in any layer that a LoRA could change: nothing was written"
        )
    left = [
        name
        for name in a.tensors
        if a.inside(name) and name not in used and _differ(a.tensors[name], b.tensors.get(name))
    ]
    notes = [
        f"not in a LoRA, though they differ: {', '.join(left[:3])}"
        + (f" and {len(left) - 3} more" if len(left) > 3 else "")
    ]
    said = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(max(ranks)) if len(ranks) == 1 else "Dynamic",
        "ss_sd_model_name": a.name,
        "modelspec.architecture": ARCHITECTURES.get(nets.model, ""),
    }
    return Plan(
        tensors=tensors,
        lead=None,
        metadata={key: text for key, text in said.items() if text},
        notes=notes if left else (),
    )


def _layers(nets: Networks) -> Iterator[Layer]:
    """Every layer that a LoRA may change; where names are the file's, layers that lie in one tensor of it are one."""
    for role, net in nets.nets.items():
        places, told = nets.places[role], set[str]()
        for name in layers(net):
            weight, bias = places[f"{name}.weight"], places.get(f"{name}.bias")
            if not nets.apart(role):
                weight, bias = Source(weight.name), bias and Source(bias.name)
            key = nets.key(role, name, weight)
            if key not in told:
                told.add(key)
                yield Layer(key, weight, bias)


def _taken(tensor: Due, source: Source) -> Tensor:
    whole = source.take(tensor.detach())
    return whole.to(torch.promote_types(whole.dtype, torch.float32))


def _parts(change: Tensor, of_bias: bool, key: str, rank: int | None, energy: float | None) -> Mapping[str, Tensor]:
    """What a file holds of a change: factors, or itself where it is a vector."""
    if of_bias:
        return {f"{key}.diff_b": change}
    if change.ndim == 1:
        return {f"{key}.diff": change}
    up, down = factors(change.flatten(1), rank, energy)
    ones = [1] * (change.ndim - 2)
    return {
        f"{key}.lora_up.weight": up.reshape(*up.shape, *ones),
        f"{key}.lora_down.weight": down.reshape(len(down), *change.shape[1:]),
        f"{key}.alpha": torch.tensor(float(len(down))),
    }


def _differ(a: Due, b: Due | None) -> bool:
    return b is not None and not torch.equal(a.detach().flatten(), b.detach().flatten().to(a.dtype))
