"""Pixel diffusion of classes: batches that are told their classes, most of them, and pictures drawn of a class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..denoise import Denoiser
from ..guide import compose
from ..learn.data.labelled import Labelled
from ..levels import levels_of
from ..noise import Noise, keyed
from ..prompt.labels import NONE, one_hot
from ..run.device import send
from ..schedule import sgm_uniform
from ..solve.core import Solver, points, sample
from ..types import Conditioning


def conditioned(
    art: Labelled, batch: int, seed: str, drop: float, where: torch.device, *, mirror: bool = True
) -> Callable[[int], tuple[Tensor, Conditioning]]:
    """step -> (pictures (B, 3, S, S) in [-1, 1], their classes), a pure function of the step; a share ``drop`` is told
    no class, so that guidance has something to count from (Ho & Salimans 2022)."""
    batches = art.batches(batch, seed, mirror=mirror)

    def at(step: int) -> tuple[Tensor, Conditioning]:
        pictures, labels = batches(step)
        dropped = torch.rand(batch, generator=keyed(seed, "drop", step)) < drop
        heard = one_hot(labels.masked_fill(dropped, NONE), len(art.names))
        return levels_of(send(pictures, where)), heard.map(lambda v: send(v, where))

    return at


def drawn(
    denoiser: Denoiser, labels: Tensor, classes: int, size: int, solver: Solver, steps: int, scale: float
) -> Tensor:
    """A picture of each label, (B, 3, size, size), from the same noise whenever it is asked."""
    where = next(denoiser.parameters()).device
    visited, noise = points(denoiser.schedule, sgm_uniform(denoiser.schedule, steps)), Noise.of(7, range(len(labels)))
    x = noise(torch.empty(len(labels), 3, size, size, device=where)) * visited[0].sigma
    guided = compose(
        denoiser,
        [(one_hot(labels.to(where), classes), scale)],
        one_hot(torch.full((1,), NONE, device=where), classes),
    )
    for state in sample(guided, solver, visited, x, noise):
        x = state.x
    return x
