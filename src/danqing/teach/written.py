"""A training's networks as a model folder, and the words that its card has for what they took."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..learn.training.loop import Training
from ..run.record import describe
from ..store.model import Model, write_model
from ..weights.load import save
from ..weights.registry import of


def filled(text: str) -> str:
    """A paragraph in lines of at most 120 characters."""
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def millions(module: nn.Module) -> float:
    """How many parameters, in millions."""
    return sum(p.numel() for p in module.parameters()) / 1e6


def machine() -> str:
    """This computer, in words."""
    found = describe()
    return f"{found.get('gpu', found['cpu'])} ({found['instructions']}, {found['precision']}, torch {found['torch']})"


def effort(run: Training, batch: int, core_hours: float, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a training took, and where, for the description of a model; with what the one took that it began with."""
    counts = {"steps": run.step, "pictures": run.step * run.accumulate * batch, "core_hours": core_hours}
    here = machine()
    if before:
        counts = {name: count + before[name] for name, count in counts.items()}
        here = here if here == before["machine"] else f"{before['machine']}, then {here}"
    return counts | {"machine": here}


def took(trained: Mapping[str, Any]) -> str:
    """The same in words."""
    hours = f"{60 * trained['core_hours']:.0f} core-minutes on {trained['machine']}"
    return f"for {trained['steps']:,} steps, in which it saw {trained['pictures']:,} pictures: {hours}"


def write_networks(
    folder: Path, *, name: str, parts: Mapping[str, nn.Module], trained: Mapping[str, Any], **description: Any
) -> Model:
    """Write networks in bf16 and their description into an empty folder.

    Args:
        parts: the networks by their roles, "generator", "denoiser".
        trained: as `effort` gives it.
        description: more fields of `danqing.store.model.write_model`.

    Raises:
        InvalidFile: the folder cannot be written.
    """
    for role, module in parts.items():
        save(module, folder / f"{role}.safetensors", dtype=torch.bfloat16)
    return write_model(
        folder,
        name=name,
        components={
            role: (of(module).name, f"{role}.safetensors", asdict(cast(Any, module.config)))  # type: ignore[call-overload]
            for role, module in parts.items()
        },
        trained={**trained, "core_hours": round(trained["core_hours"], 2)},
        **description,
    )
