"""Low-rank changes as files that others read: kohya's layout, and the folders of peft.

kohya's: ``lora_unet_<name, underscores>.lora_down.weight``, ``.lora_up.weight``, ``.alpha``, ``.dora_scale``; of text
towers ``lora_te_`` or, where there are several, ``lora_te1_``, ``lora_te2_``. peft's, a folder a network:
``base_model.model.<name>.lora_A.weight``, ``….lora_B.weight``, ``….lora_magnitude_vector``, and adapter_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import InvalidInput
from .deltas import Decomposed, Delta, LowRank
from .layouts import PEFT

Deltas = Mapping[str, Delta]


class Parts(NamedTuple):
    """A low-rank change in parts: up (out, r, …), down (r, in, …), alpha / r, and DoRA's magnitudes (out,) or None."""

    up: Tensor
    down: Tensor
    scale: float
    magnitude: Tensor | None

    @classmethod
    def of(cls, name: str, delta: Delta) -> Parts:
        """Raises InvalidInput: the change is of another kind."""
        kind, magnitude = delta.weight, None
        if isinstance(kind, Decomposed) and kind.axis == 0:
            kind, magnitude = kind.inner, kind.magnitude.detach()
        if not isinstance(kind, LowRank) or kind.mid is not None or delta.bias is not None:
            raise InvalidInput(f"the change of {name} is no product of two matrices, which is what these layouts hold")
        return cls(kind.up.detach(), kind.down.detach(), kind.scale, magnitude)


def _kept(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to("cpu", dtype).contiguous()


def kohya(deltas: Mapping[str, Deltas], dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """The tensors of a file in kohya's layout: of every network by its role.

    Raises:
        InvalidInput: a change is no product of two matrices.
    """
    towers = [role for role in deltas if role != "denoiser"]
    prefixes = {"denoiser": "lora_unet_", "text": "lora_te1_" if len(towers) > 1 else "lora_te_"}
    prefixes |= {"text_2": "lora_te2_", "text_3": "lora_te3_"}
    found = dict[str, Tensor]()
    for role, changes in deltas.items():
        for name, delta in changes.items():
            stem, part = prefixes[role] + name.replace(".", "_"), Parts.of(name, delta)
            found[f"{stem}.lora_down.weight"] = _kept(part.down, dtype)
            found[f"{stem}.lora_up.weight"] = _kept(part.up, dtype)
            found[f"{stem}.alpha"] = torch.tensor(part.scale * len(part.down))
            if part.magnitude is not None:
                shape = (-1, *[1] * (part.down.ndim - 1))
                found[f"{stem}.dora_scale"] = _kept(part.magnitude.reshape(shape), torch.float32)
    return found


def peft(
    deltas: Deltas, base: str = "", dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the config of a folder of peft, for one network.

    Args:
        base: what the model is called.

    Raises:
        InvalidInput: a change is no product of two matrices, or they are not all of one rank and scale.
    """
    parts = {name: Parts.of(name, delta) for name, delta in deltas.items()}
    said = {(len(part.down), part.scale, part.magnitude is not None) for part in parts.values()}
    if len(said) != 1:
        raise InvalidInput("changes of several ranks or scales, which a folder of peft would need patterns for")
    ((rank, scale, decomposed),) = said
    found = dict[str, Tensor]()
    for name, part in parts.items():
        found[f"{PEFT}{name}.lora_A.weight"] = _kept(part.down, dtype)
        found[f"{PEFT}{name}.lora_B.weight"] = _kept(part.up, dtype)
        if part.magnitude is not None:
            shape = (1, -1, 1, 1) if part.down.ndim == 4 else (-1,)
            found[f"{PEFT}{name}.lora_magnitude_vector"] = _kept(part.magnitude.reshape(shape), torch.float32)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_dora": decomposed,
        "target_modules": sorted(parts),
        "inference_mode": True,
    }
    return found, config
