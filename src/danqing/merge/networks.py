"""The networks of a checkpoint, and where their layers lie in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import InvalidInput
from ..store.find import find
from ..weights import kinds, load
from ..weights.layouts.keymap import Source
from ..weights.published import DIFFUSION
from .given import Given

#: The parts that a LoRA changes.
ROLES = ("denoiser", "text", "text_2", "text_3")
#: How kohya's names begin, by part; of a model with one text encoder its has no number.
PREFIXES = {"denoiser": "lora_unet_", "text": "lora_te1_", "text_2": "lora_te2_", "text_3": "lora_te3_"}
ALONE = "lora_te_"
#: The models whose denoiser kohya's names take as diffusers has it, and not as the file does.
RENAMED = ("SD1.x", "SD2.x")


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What of a checkpoint a LoRA may change.

    Args:
        nets: by part, on the meta device.
        places: part -> name of ours -> where in the file it lies.
        model: "SD1.x", ....
    """

    nets: Mapping[str, nn.Module]
    places: Mapping[str, Mapping[str, Source]]
    model: str

    def key(self, role: str, layer: str, place: Source) -> str:
        """What kohya's trainer calls a layer: by our name, or by that in the file."""
        prefix = ALONE if role == "text" and "text_2" not in self.nets else PREFIXES[role]
        if role == "denoiser" and self.model not in RENAMED:
            layer = place.name.removeprefix(DIFFUSION).rpartition(".")[0]
        return prefix + layer.replace(".", "_")

    def apart(self, role: str) -> bool:
        """Whether a tensor of the file that holds several layers is named as these."""
        return role != "denoiser" or self.model in RENAMED


def networks(given: Given) -> Networks:
    """Those of a checkpoint.

    Raises:
        InvalidInput: it is none. InvalidFile: a part is of no shape that is known.
    """
    if given.kind is None:
        what = f" but {given.what}" if given.what else ""
        raise InvalidInput(
            f"{given.name} is no checkpoint{what}: the first file must be the single file or the folder of a model"
        )
    configs: dict[str, Any] = {role: part.config for role, part in find(given.path.absolute()).components.items()}
    nets: dict[str, nn.Module] = {}
    places: dict[str, Mapping[str, Source]] = {}
    for role, family in kinds.kind(given.header).networks.items():
        if role in ROLES and role in configs:
            nets[role] = load.empty(family, given.header, configs[role] or None)
            places[role] = family.sources(given.header)
    return Networks(nets=nets, places=places, model=given.kind[0])
