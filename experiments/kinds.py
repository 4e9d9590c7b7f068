"""What the trainings of pixel diffusion share: the art's kinds as classes that are sometimes left out, and sheets of
samples."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from danqing.denoise import Denoiser
from danqing.levels import levels_of
from danqing.prompt.labels import one_hot
from danqing.solve.core import Solver
from danqing.teach.classed import conditioned, drawn
from danqing.types import Conditioning
from experiments.art import Art

__all__ = ["SHOWN", "SIZE", "apart", "conditioned", "row"]

SIZE, SHOWN = 32, 12


def apart(data: Path, count: int, where: torch.device) -> tuple[Tensor, Conditioning]:
    """``count`` pictures that no training sees, spread over all of them, with their classes."""
    art = Art.load(data, SIZE, split="heldout_pair")
    chosen = torch.arange(count) * len(art.pictures) // count
    return levels_of(art.pictures[chosen].to(where)), one_hot(art.labels[chosen].to(where), len(art.names))


def row(denoiser: Denoiser, classes: int, solver: Solver, steps: int, scale: float) -> Tensor:
    """One picture each of `SHOWN` classes, (SHOWN, 3, S, S), from the same noise in every row."""
    labels = torch.arange(SHOWN) * classes // SHOWN
    return drawn(denoiser, labels, classes, SIZE, solver, steps, scale)
