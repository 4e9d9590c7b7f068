"""What the trainings of pixel diffusion share: the art's kinds as classes that are sometimes left out, and sheets of
samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from danqing.denoise import Denoiser
from danqing.guide import compose
from danqing.levels import levels_of
from danqing.noise import Noise, keyed
from danqing.prompt.labels import NONE, one_hot
from danqing.run.device import send
from danqing.schedule import sgm_uniform
from danqing.solve.core import Solver, points, sample
from danqing.types import Conditioning
from experiments.art import Art

SIZE, SHOWN = 32, 12


def conditioned(
    art: Art, batch: int, seed: str, drop: float, where: torch.device
) -> Callable[[int], tuple[Tensor, Conditioning]]:
    """step -> (pictures (B, 3, S, S) in [-1, 1], their classes), a pure function of the step; a share ``drop`` is told
    no class, so that guidance has something to count from (Ho & Salimans 2022)."""
    batches = art.batches(batch, seed, mirror=True)

    def at(step: int) -> tuple[Tensor, Conditioning]:
        pictures, labels = batches(step)
        dropped = torch.rand(batch, generator=keyed(seed, "drop", step)) < drop
        heard = one_hot(labels.masked_fill(dropped, NONE), len(art.names))
        return levels_of(send(pictures, where)), heard.map(lambda v: send(v, where))

    return at


def apart(data: Path, count: int, where: torch.device) -> tuple[Tensor, Conditioning]:
    """``count`` pictures that no training sees, spread over all of them, with their classes."""
    art = Art.load(data, SIZE, split="heldout_pair")
    chosen = torch.arange(count) * len(art.pictures) // count
    return levels_of(art.pictures[chosen].to(where)), one_hot(art.labels[chosen].to(where), len(art.names))


def row(denoiser: Denoiser, classes: int, solver: Solver, steps: int, scale: float) -> Tensor:
    """One picture each of `SHOWN` classes, (SHOWN, 3, S, S), from the same noise in every row."""
    where = next(denoiser.parameters()).device
    labels = torch.arange(SHOWN, device=where) * classes // SHOWN
    visited, noise = points(denoiser.schedule, sgm_uniform(denoiser.schedule, steps)), Noise.of(7, range(SHOWN))
    x = noise(torch.empty(SHOWN, 3, SIZE, SIZE, device=where)) * visited[0].sigma
    guided = compose(
        denoiser, [(one_hot(labels, classes), scale)], one_hot(torch.full((1,), NONE, device=where), classes)
    )
    for state in sample(guided, solver, visited, x, noise):
        x = state.x
    return x
