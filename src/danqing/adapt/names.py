"""What other programs call the layers of our networks.

A `Table` has every name under which a file may mean a layer, dotted and with underscores, made from the network's own
names; so no underscored name has to be taken apart, which would be guessing. The names in a model's single file come
from the map by which that file is read. Source of the others: diffusers' loaders/lora_base.py (names before 0.20).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .base import layers
from .deltas import Take


class Piece(NamedTuple):
    """A layer, and how its rows are taken from those of the layer named; None where it is that layer."""

    layer: str
    take: Take | None = None


Table = dict[str, tuple[Piece, ...]]


class Source(Protocol):
    """Where a tensor of ours lies, as `danqing.weights.layouts.keymap.Source`."""

    @property
    def name(self) -> str: ...
    @property
    def way(self) -> object | None: ...
    def take(self, whole: Tensor) -> Tensor: ...


class Layout(Protocol):
    """A map of the names of a file and ours, as `danqing.weights.layouts.keymap.KeyMap`."""

    def back(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]: ...
    def sources(self, keys: Iterable[str]) -> Mapping[str, Source]: ...


#: From the shapes of a file's tensors to its layout: `danqing.weights.layouts.ldm.unet`,
#: `danqing.weights.layouts.sd3.mmdit`.
Map = Callable[[Mapping[str, tuple[int, ...]]], Layout]

#: Endings of one name that a layer also had, and ours.
OLD = (
    (".self_attn.to_q", ".self_attn.q_proj"),
    (".self_attn.to_k", ".self_attn.k_proj"),
    (".self_attn.to_v", ".self_attn.v_proj"),
    (".self_attn.to_out", ".self_attn.out_proj"),
    (".to_out", ".to_out.0"),
)


def table(net: nn.Module, maps: Sequence[Map] = ()) -> Table:
    """Every name of every layer that an adapter may change.

    Args:
        net: the network.
        maps: of the layouts of single files, whose names are known too.
    """
    own = layers(net)
    names: Table = {name: (Piece(name),) for name in own}

    def also(others: Mapping[str, tuple[Piece, ...]]) -> None:
        for name, pieces in others.items():
            names.setdefault(name, pieces)

    if signs := single_file(own):
        for make in maps:
            also(mapped(own, make(dict.fromkeys(signs, ()))))
    for old, new in OLD:
        also({name.removesuffix(new) + old: pieces for name, pieces in names.items() if name.endswith(new)})
    # As transformers 5 names a tower without a projection.
    also({name.removeprefix("text_model."): pieces for name, pieces in names.items() if name.startswith("text_model.")})
    also({name.replace(".", "_"): pieces for name, pieces in names.items()})
    return names


def single_file(own: Collection[str]) -> list[str]:
    """The names in the single file of a UNet or an MMDiT from which its map reads the topology; none of other
    networks."""
    blocks = {name.split(".")[1] for name in own if name.startswith("transformer_blocks.")}
    if "transformer_blocks.0.attn.add_q_proj" in own:
        return [f"joint_blocks.{i}.x_block.attn.qkv.weight" for i in blocks]
    if "down_blocks.0.resnets.0.conv1" not in own:
        return []
    levels = {name.split(".")[1] for name in own if name.startswith("down_blocks.")}
    steps = 1 + len({name.split(".")[3] for name in own if name.startswith("down_blocks.0.resnets.")})
    attended = {
        name.split(".")[1] for name in own if name.startswith("up_blocks.") and name.split(".")[2] == "attentions"
    }
    return [
        *(f"input_blocks.{n}.0.weight" for n in range(len(levels) * steps)),
        *(f"input_blocks.{(i + 1) * steps}.0.op.weight" for i in range(len(levels) - 1)),
        *(f"output_blocks.{int(i) * steps + steps - 1}.1.norm.weight" for i in attended),
    ]


def mapped(own: Collection[str], layout: Layout) -> Table:
    """The names that the layers have in a layout; a layer of it may be several of ours side by side."""
    file = layout.back({f"{name}.weight": torch.zeros(2, device="meta") for name in own})
    names: Table = {}
    for name, source in layout.sources(file).items():
        piece = Piece(name.removesuffix(".weight"), source.take if source.way else None)
        theirs = source.name.removesuffix(".weight")
        names[theirs] = (*names.get(theirs, ()), piece)
    return names
